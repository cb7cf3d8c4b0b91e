"""Large bodies cost neither memory nor anybody else's time, and their files are given back.

`LLAMA_SWAP_UPLOADS=50` and `LLAMA_SWAP_UPLOAD_MB=100` in the environment make it that many clients with that much each.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import zlib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_client import at_once
from tests.support_processes import cpu_seconds, wait_until

MB = 1_000_000
CLIENTS = int(os.environ.get("LLAMA_SWAP_UPLOADS", "10"))
SIZE = int(os.environ.get("LLAMA_SWAP_UPLOAD_MB", "20")) * MB
STAYING = 3
TYPE = {"Content-Type": "multipart/form-data; boundary=B"}
HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
WORDS = "größe \n" * 3_000_000
TAIL = b'\r\n--B\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--B--\r\n'


Sent = tuple[str, bytes, dict[str, str]]
"""A path, and the body and fields that are sent to it."""


def form(size: int) -> bytes:
    """Return a form of this size."""
    return HEAD + bytes(range(256)) * ((size - len(HEAD) - len(TAIL)) // 256) + TAIL


def unnamed_files(pid: int) -> int:
    """Return how many bytes a process has in files without a name."""
    sizes = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(descriptor.readlink()).endswith(" (deleted)"):
                sizes.append(descriptor.stat().st_size)
        except OSError:  # closed meanwhile
            continue
    return sum(sizes)


def memory(pid: int, line: str) -> int:
    """Return a line of the memory figures of a process, in bytes."""
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith(line):
            return int(text.split()[1]) * 1024
    raise AssertionError(line)


class UploadTests(SynchronousTestCase):
    """The whole program."""

    timeout = 600

    def test_many_wait(self) -> None:
        """Many large forms that wait for a model are in files, not in memory; the files go with their clients."""
        body = form(SIZE)
        load = 3 + CLIENTS * SIZE / (50 * MB)
        model = fake_model("a", f"--load-delay {load}", concurrencyLimit=CLIENTS)
        with ProxyUnderTest({"models": {"a": model}, "healthCheckTimeout": 300}) as proxy, at_once(CLIENTS) as threads:
            before = memory(proxy.pid, "VmRSS")
            Path(f"/proc/{proxy.pid}/clear_refs").write_text("5")
            clients = [socket.create_connection(("127.0.0.1", proxy.port), 300) for _ in range(CLIENTS)]
            request = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\n" % (
                TYPE["Content-Type"].encode()
            )
            request += b"Content-Length: %d\r\n\r\n" % len(body)
            for _ in threads.map(lambda client: (client.sendall(request), client.sendall(body)), clients):
                pass
            wait_until(lambda: unnamed_files(proxy.pid) == CLIENTS * len(body), 30, "all bodies in files")
            for client in clients[STAYING:]:
                client.close()
            wait_until(lambda: unnamed_files(proxy.pid) == STAYING * len(body), 5, "the room of those who left")
            for client in clients[:STAYING]:
                answer = client.recv(65536)
                self.assertIn(b'"body_bytes": %d,' % len(body), answer)
                client.close()
            wait_until(lambda: unnamed_files(proxy.pid) == 0, 5, "the room of those who were served")
            self.assertLess(memory(proxy.pid, "VmHWM") - before, 150 * MB)
            self.assertEqual(len(proxy.journal.events("req", "a")), STAYING)

    def test_streams_go_on(self) -> None:
        """While 25 MB of JSON and of a form pass, nobody's stream stands still."""
        prompt = json.dumps({"prompt": WORDS, "model": "a"}, ensure_ascii=False).encode()
        bodies = [("/v1/embeddings", prompt, {}), ("/v1/audio/transcriptions", form(25 * MB), TYPE)]
        self.assert_no_pause(bodies, [prompt, form(25 * MB)])

    def test_filters(self) -> None:
        """Nor does it while filters change such bodies, nothing of which is in memory."""
        filters = {"stripParams": "top_p", "setParams": {"n": 1, "options.seed": 2}}
        asked = {"model": "a", "top_p": 1, "options": {}, "prompt": WORDS}
        told = {"model": "a", "options": {"seed": 2}, "prompt": WORDS, "n": 1}
        text, expected = (
            json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() for body in (asked, told)
        )
        grown = self.assert_no_pause([("/v1/embeddings", text, {})], [expected], filters=filters)
        self.assertLess(grown, 15 * MB)

    def assert_no_pause(self, bodies: list[Sent], told: list[bytes], **config: Any) -> int:
        """Check that a stream goes on beside bodies, and what the model gets; return how much memory they cost."""
        model = fake_model("a", "--stream 150@10", **config)
        with ProxyUnderTest({"models": {"a": model}}) as proxy, at_once(2) as threads:
            proxy.served("a")
            before = memory(proxy.pid, "VmRSS")
            with proxy.stream("a") as stream:
                events = stream.events()
                next(events)
                passing = [threads.submit(proxy.ask, "POST", *body) for body in bodies]
                worked = [cpu_seconds(proxy.pid) for _ in events]  # other programs may hold it up as well
                answers = [future.result().json() for future in passing]
            self.assertEqual([answer["body_crc32"] for answer in answers], list(map(zlib.crc32, told)))
            self.assertLess(max(after - before for before, after in itertools.pairwise(worked)), 0.1)
            return memory(proxy.pid, "VmHWM") - before
