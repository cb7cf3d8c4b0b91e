"""Every byte arrives, in both directions: random bodies and answers through real sockets.

`LLAMA_SWAP_EXCHANGES=10000` in the environment makes it as many instead of a few, for a long quiet hour.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest
from tests.support_client import at_once
from tests.support_processes import free_port

EXCHANGES = int(os.environ.get("LLAMA_SWAP_EXCHANGES", "120"))
CLIENTS = 4
LARGEST = 5_000_000
POOL = random.Random(0).randbytes(8 * 1024 * 1024)
"""As in mirror.py."""
BLOCKS = [
    json.dumps(POOL[start : start + 700].decode("latin-1") + "größe 😀 \n", ensure_ascii=start % 3 == 0)[1:-1]
    for start in range(0, 3_000_000, 700)
]
"""Anything that a JSON string can hold."""
ALIAS, NAME = "an alias", 'the "real" näme'


class Asked(NamedTuple):
    """A request, and what the model must get of it."""

    path: str
    kind: str
    body: bytes
    expected: bytes


class ByteTests(SynchronousTestCase):
    """The whole program, and a model server that tells what it got."""

    timeout = 7200

    def test_both_directions(self) -> None:
        """Bodies of every form, size and framing arrive as they were sent, but for the model's name; so do answers."""
        port = free_port()
        mirror = shlex.join([sys.executable, "-ES", str(Path(__file__).with_name("mirror.py")), "--port", str(port)])
        model = {"cmd": mirror, "proxy": f"http://127.0.0.1:{port}", "aliases": [ALIAS], "useModelName": NAME}
        with ProxyUnderTest({"models": {"m": model}}) as proxy, at_once(CLIENTS) as threads:
            counts = threads.map(self.exchange_many, [proxy.port] * CLIENTS, range(CLIENTS))
            self.assertEqual(sum(counts), EXCHANGES // CLIENTS * CLIENTS)

    def exchange_many(self, port: int, number: int) -> int:
        """Be one client; return how many exchanges went well."""
        rng = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for count in range(EXCHANGES // CLIENTS):
            seed = rng.getrandbits(64)
            try:
                self.exchange(connection, random.Random(seed))
            except Exception as error:
                raise AssertionError(f"exchange {count} of client {number}, seed {seed}: {error!r}") from error
        connection.close()
        return EXCHANGES // CLIENTS

    def exchange(self, connection: http.client.HTTPConnection, rng: random.Random) -> None:
        """Send one body, and check it and its answer at both ends."""
        asked = rng.choice((json_body, json_body, multipart_body, raw_body))(rng)
        size, framing = random_size(rng), rng.choice(("length", "chunked", "close"))
        offset = rng.randrange(len(POOL) - size)
        headers = {"Content-Type": asked.kind, "X-Answer": f"{offset} {size} {framing} {rng.getrandbits(32)}"}
        if rng.random() < 0.5:
            connection.request("POST", asked.path, pieces(asked.body, rng), headers, encode_chunked=True)
        else:
            headers["Content-Length"] = str(len(asked.body))
            connection.request("POST", asked.path, pieces(asked.body, rng), headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, (response.status, answer[:300])
        assert response.headers["X-Framing"] == f"content-length={len(asked.expected)}", response.headers["X-Framing"]
        assert response.headers["X-Got"] == hashlib.sha1(asked.expected).hexdigest(), "another body arrived"
        assert answer == POOL[offset : offset + size], "another answer came back"


def random_size(rng: random.Random) -> int:
    """Return a size up to `LARGEST`; small ones more often than large ones."""
    return int(LARGEST * rng.random() ** 3) if rng.random() < 0.9 else rng.randrange(3)


def pieces(body: bytes, rng: random.Random) -> Iterator[bytes]:
    """Cut a body at random places."""
    places = sorted(rng.randrange(len(body) + 1) for _ in range(rng.choice((0, 1, 5, 50))))
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        if start < end:
            yield body[start:end]


def json_body(rng: random.Random) -> Asked:
    """Return a chat whose model stands before, after or between other members."""
    size = random_size(rng) // 1000
    start = rng.randrange(len(BLOCKS))
    prompt = "".join((BLOCKS * 2)[start : start + size])
    numbers = json.dumps([rng.randrange(100_000)] * rng.randrange(20_000))
    members = [f'"prompt" : "{prompt}"', f'"tokens":{numbers}', '"x":[1e400,"\\ud800",{"model":"b"}]']
    rng.shuffle(members)
    place = rng.randrange(4)
    before = "{" + "".join(f"{member} ,\n" for member in members[:place]) + '"mod\\u0065l": '
    after = "".join(f", {member}" for member in members[place:]) + "}\n"
    model = json.dumps(rng.choice(("m", ALIAS)))
    return Asked(
        "/v1/chat/completions",
        rng.choice(("application/json", "text/plain", "application/x-www-form-urlencoded")),
        f"{before}{model}{after}".encode(),
        f"{before}{json.dumps(NAME)}{after}".encode(),
    )


def multipart_body(rng: random.Random) -> Asked:
    """Return a form whose model stands before, after or between files."""
    boundary = b"b%016x" % rng.getrandbits(64)
    parts = [
        b'Content-Disposition: form-data; name="file%d"; filename="a \xc3\xbc.wav"\r\n\r\n%b' % (number, slice_of(rng))
        for number in range(rng.randrange(3))
    ]
    place = rng.randrange(len(parts) + 1)
    head = b"Content-Disposition: form-data; name=model\r\n\r\n"

    def form(model: str) -> bytes:
        all_parts = [*parts[:place], head + model.encode(), *parts[place:]]
        return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in all_parts) + b"--%b--\r\n" % boundary

    kind = f"multipart/form-data; boundary={boundary.decode()}"
    return Asked("/v1/audio/transcriptions", kind, form(rng.choice(("m", ALIAS))), form(NAME))


def raw_body(rng: random.Random) -> Asked:
    """Return a body that nobody reads on its way."""
    body = slice_of(rng)
    return Asked("/upstream/m/anything", "application/octet-stream", body, body)


def slice_of(rng: random.Random) -> bytes:
    """Return some of the pool."""
    size = random_size(rng)
    start = rng.randrange(len(POOL) - size)
    return POOL[start : start + size]
