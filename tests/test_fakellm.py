"""The misbehaving model server misbehaves as asked; all black-box tests rest on that."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import time
import zlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import FAKELLM, tested_environment
from tests.support_client import CUT, Answer, Stream, ask, exchange, send
from tests.support_processes import Journal, free_port, is_alive, wait_until

QUESTION: dict[str, object] = {"model": "told", "messages": []}


class FakeLLMTests(SynchronousTestCase):
    """One knob a test."""

    def setUp(self) -> None:
        """Make a place for the journal."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        self.journal = Journal(self.directory / "journal")
        self.port = free_port()

    def start(self, knobs: str = "", *, bound: bool = True) -> subprocess.Popen[bytes]:
        """Start it; it ends with the test."""
        command = f"{FAKELLM} --port {self.port} --model m --journal {self.journal.path} {knobs}"
        with (self.directory / "out").open("ab") as out:
            process = subprocess.Popen(shlex.split(command), env=tested_environment(), stdout=out)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        if bound:
            self.journal.wait_for("bind")
        return process

    def printed(self) -> str:
        """Return its output so far."""
        return (self.directory / "out").read_text()

    def post(self, target: str, body: dict[str, object] | bytes = QUESTION) -> Answer:
        """POST to it."""
        return ask(self.port, "POST", target, body)

    def stream(self) -> Stream:
        """Open a streamed chat."""
        return Stream(*send(self.port, "POST", "/v1/chat/completions", {**QUESTION, "stream": True}))

    def test_answers(self) -> None:
        """Each endpoint answers, naming the model that the request told and the one that served."""
        self.start()
        self.assertEqual(ask(self.port, "GET", "/health").status, 200)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank"):
            answer = self.post(path)
            self.assertEqual((answer.status, answer.json()["model"], answer.json()["served_by"]), (200, "told", "m"))
        self.assertEqual(self.post("/v1/audio/speech").headers["Content-Type"], "audio/mpeg")
        self.assertEqual(ask(self.port, "GET", "/v1/models").json()["data"][0]["id"], "m")
        odd = ask(self.port, "GET", "//a%2Fb?c=%20")
        self.assertEqual((odd.status, odd.json()["target"]), (404, "//a%2Fb?c=%20"))
        self.assertIn("eval time =", self.printed())

    def test_journal(self) -> None:
        """A plain life leaves its events in order, with increasing times."""
        process = self.start()
        ask(self.port, "GET", "/health")
        self.post("/v1/completions")
        process.terminate()
        self.assertEqual(process.wait(), 0)
        events = self.journal.events()
        self.assertEqual([event["ev"] for event in events], ["start", "bind", "probe", "req", "term", "exit"])
        self.assertEqual([event["t"] for event in events], sorted(event["t"] for event in events))
        self.assertEqual({(event["pid"], event["model"]) for event in events}, {(process.pid, "m")})
        self.assertEqual((events[3]["path"], events[3]["told"]), ("/v1/completions", "told"))

    def test_starts_fast(self) -> None:
        """It listens soon enough to be started hundreds of times."""
        began = time.time()
        self.start()
        self.assertLess(self.journal.events("bind")[0]["t"] - began, 1.0)

    def test_load_delay(self) -> None:
        """It does not listen before the delay is over."""
        self.start("--load-delay 0.2")
        start, bind = self.journal.events()
        self.assertGreater(bind["t"] - start["t"], 0.2)

    def test_health(self) -> None:
        """Statuses come in turn, the last for ever; a probe may hang; the path may be another."""
        self.start("--health 503*2,200 --health-path /up --health-hang")
        with self.assertRaises(TimeoutError):
            ask(self.port, "GET", "/up", timeout=0.1)
        self.assertEqual([ask(self.port, "GET", "/up").status for _ in range(4)], [503, 503, 200, 200])

    def test_exit_after(self) -> None:
        """It leaves by itself with the wanted status, also while it loads."""
        process = self.start("--exit-after 0.05 --exit-code 3 --load-delay 9", bound=False)
        self.assertEqual(process.wait(5), 3)
        self.assertIn("out of memory", self.printed())
        self.assertEqual(self.journal.events("exit")[0]["status"], 3)

    def test_term(self) -> None:
        """SIGTERM can be slow, and it can be without effect."""
        slow = self.start("--term-delay 0.2")
        slow.terminate()
        self.journal.wait_for("term")
        self.assertEqual(self.post("/v1/completions").status, 200)
        self.assertEqual(slow.wait(5), 0)
        deaf = self.start("--ignore-term", bound=False)
        self.journal.wait_for("bind", count=2)
        deaf.terminate()
        self.journal.wait_for("term", count=2)
        self.assertEqual(self.post("/v1/completions").status, 200)

    def test_grandchildren(self) -> None:
        """One shares the group and obeys SIGTERM, one has its own session and does not; both stay behind."""
        process = self.start("--fork-grandchild polite --setsid-grandchild")
        self.journal.wait_for("start", "m+grandchild", count=2)
        grandchildren = {event["pid"] for event in self.journal.events("start", "m+grandchild")}
        stubborn = next(pid for pid in grandchildren if os.getsid(pid) == pid)
        polite = next(pid for pid in grandchildren if os.getpgid(pid) == os.getpgid(process.pid))
        self.addCleanup(os.kill, stubborn, signal.SIGKILL)
        process.terminate()
        self.assertEqual(process.wait(5), 0)
        for pid in grandchildren:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_alive(polite), 5)
        self.assertTrue(is_alive(stubborn))

    def test_stream(self) -> None:
        """Events come one by one, each with the time when it was made."""
        self.start("--stream 3@50")
        with self.stream() as stream:
            events = list(stream.events())
        self.assertEqual(events[-1][1], b"[DONE]")
        made = [json.loads(data)["t"] for _, data in events[:-1]]
        self.assertGreater(made[2] - made[0], 0.1)
        self.assertLess(events[0][0], made[2])
        words = [json.loads(data)["choices"][0]["delta"]["content"] for _, data in events[:-1]]
        self.assertEqual(words, ["word0 ", "word1 ", "word2 ", ""])

    def test_die_mid_stream(self) -> None:
        """The stream breaks, and the process is gone."""
        process = self.start("--stream 4@1 --die-mid-stream --exit-code 7")
        with self.stream() as stream, self.assertRaises(CUT):
            list(stream.events())
        self.assertEqual(process.wait(5), 7)

    def test_client_gone(self) -> None:
        """It notices at once that the client left: while it holds, delays or streams."""
        for number, knobs in enumerate(["--hold", "--first-byte-delay 60", "--stream 2@60000"], 1):
            process = self.start(knobs, bound=False)
            self.journal.wait_for("bind", count=number)
            with socket.create_connection(("127.0.0.1", self.port)) as client:
                content = json.dumps({"stream": True}).encode()
                head = f"POST /v1/completions HTTP/1.1\r\nContent-Length: {len(content)}\r\n\r\n"
                client.sendall(head.encode() + content)
                self.journal.wait_for("req", count=number)
            left = time.time()
            self.assertLess(self.journal.wait_for("client_gone", count=number)["t"] - left, 2)
            process.terminate()
            process.wait()

    def test_echo(self) -> None:
        """Every byte of the request comes back, chunks and all."""
        self.start("--echo")
        head = b"POST /x%2F HTTP/1.1\r\nA: b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        request = head + b"3\r\n\xff\0a\r\n0\r\n\r\n"
        answer = exchange(self.port, request)
        self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["request"].encode("latin-1"), request)

    def test_raw(self) -> None:
        """The bytes of a file go out as they are."""
        file = self.directory / "answer"
        file.write_bytes(b"HTTP/1.1 200 \xff\r\n\r\nrest")
        self.start(f"--raw {file}")
        self.assertEqual(exchange(self.port, b"GET / HTTP/1.1\r\n\r\n"), file.read_bytes())

    def test_close_after_each(self) -> None:
        """The connection ends after an answer that did not announce it."""
        self.start("--close-after-each")
        answer = exchange(self.port, b"GET /v1/models HTTP/1.1\r\n\r\n")
        self.assertNotIn(b"connection: close", answer.lower())

    def test_keeps_connections(self) -> None:
        """Without that knob many requests share a connection, big bodies arrive whole."""
        self.start()
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        self.addCleanup(connection.close)
        for size in (0, 1, 3_000_000):
            connection.request("POST", "/v1/completions", b"x" * size)
            fields = json.loads(connection.getresponse().read())
            self.assertEqual((fields["body_bytes"], fields["body_crc32"]), (size, zlib.crc32(b"x" * size)))

    def test_log_rate(self) -> None:
        """It writes about as much as wanted."""
        self.start("--log-rate 5")
        wait_until(lambda: (self.directory / "out").stat().st_size > 500_000, 5)

    def test_lock(self) -> None:
        """The device is taken until the process is really gone; a second process exits with 9."""
        lock = self.directory / "gpu"
        first = self.start(f"--lock {lock} --fork-grandchild polite")
        grandchild = self.journal.wait_for("start", "m+grandchild")["pid"]
        self.addCleanup(os.kill, grandchild, signal.SIGKILL)
        self.assertEqual(self.start(f"--lock {lock}", bound=False).wait(5), 9)
        first.kill()
        first.wait()
        third = self.start(f"--lock {lock}", bound=False)
        self.journal.wait_for("bind", count=2)
        third.terminate()
        self.assertEqual(third.wait(5), 0)

    def test_port_taken(self) -> None:
        """It says so and exits with 1, as llama-server does."""
        self.start()
        self.assertEqual(self.start(bound=False).wait(5), 1)
        self.assertIn("couldn't bind", self.printed())

    def test_upgrade(self) -> None:
        """It switches protocols and sends back what comes, also what came right behind the request."""
        self.start()
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n" + key + b"\r\n\r\nfirst")
            received = b""
            while not received.endswith(b"first"):
                received += client.recv(4096)
        self.assertIn(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", received)
