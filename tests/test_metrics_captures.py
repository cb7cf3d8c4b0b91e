"""Captures: what is kept, what is left out, and that it stays within its bound."""

from __future__ import annotations

import gzip
from base64 import b64decode
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.metrics.captures import OVERHEAD, Captures, Recording, as_json, without_chunks
from llama_swap.metrics.headers import Content, Fields, RequestFacts, content_of

JSON = ((b"Content-Type", b"application/json"),)


@define
class Request:
    """A request that is over."""

    number: int
    answer: bytes | None = b""
    path: bytes = b"/v1/chat/completions"
    fields: Fields = JSON
    body: bytes | None = b"question"
    answer_fields: tuple[tuple[bytes, bytes], ...] = JSON
    chunked: bool = False
    facts: RequestFacts = field(factory=lambda: RequestFacts(is_readable=True, metadata={}, size=0))
    content: Content = field(factory=lambda: content_of(JSON))
    room: int = 0

    def forget(self) -> None:
        """See `Captured.forget`."""
        self.body = self.answer = None


def store(captures: Captures, number: int, *parts: bytes, **changes: Any) -> Request:
    """Record an answer of these parts, and keep it."""
    recording = captures.recording()
    for part in parts:
        if recording is not None:
            recording.add(part)
    return end(captures, number, recording, **changes)


def end(captures: Captures, number: int, recording: Recording | None, **changes: Any) -> Request:
    """Keep an answer that was recorded."""
    request = Request(number, b"" if recording is None else recording.end(), **changes)
    captures.store([request])
    return request


def shown(captures: Captures, number: int) -> dict[str, Any]:
    """Return a capture as people see it, with its bodies decoded."""
    capture = captures.get(number)
    assert capture is not None
    found = as_json(capture)
    return {**found, "req_body": b64decode(found["req_body"]), "resp_body": b64decode(found["resp_body"])}


class CaptureTests(SynchronousTestCase):
    """One capture."""

    def test_whole(self) -> None:
        """Bodies as they were, whatever bytes they had."""
        captures = Captures(100_000)
        store(captures, 7, b"an", b"swer\xff", body=b"\x00q")
        found = shown(captures, 7)
        self.assertEqual((found["id"], found["req_path"]), (7, "/v1/chat/completions"))
        self.assertEqual((found["req_body"], found["resp_body"]), (b"\x00q", b"answer\xff"))
        self.assertEqual(found["resp_headers"], {"Content-Type": "application/json"})

    def test_compressed(self) -> None:
        """A compressed answer is shown as what it says, in chunks or not; one that cannot be read as it came."""
        captures = Captures(100_000)
        packed = gzip.compress(b"answer")
        chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in packed)
        for coding, chunks, seen in (("gzip", False, b"answer"), ("GZIP", True, b"answer"), ("br", False, packed)):
            fields = (*JSON, (b"content-encoding", coding.encode()))
            answer = chunked if chunks else packed
            store(captures, 7, answer, answer_fields=fields, content=content_of(fields), chunked=chunks)
            self.assertEqual(shown(captures, 7)["resp_body"], seen)
            self.assertEqual(shown(captures, 7)["resp_headers"]["content-encoding"], coding)
            captures = Captures(100_000)

    def test_secrets(self) -> None:
        """Keys and cookies do not show."""
        captures = Captures(100_000)
        names: tuple[bytes, ...] = (b"Authorization", b"PROXY-AUTHORIZATION", b"Cookie", b"x-API-key", b"Api-Key")
        names += (b"X-Auth-Token", b"Cf-Access-Jwt-Assertion", b"CF-Access-Client-Secret", b"X-Goog-Api-Key")
        fields = [(name, b"canary") for name in names]
        cookie = ((b"Set-Cookie", b"canary"),)
        store(captures, 1, fields=fields, body=None, answer_fields=cookie)
        found = shown(captures, 1)
        self.assertNotIn("canary", str(found))
        self.assertEqual(set(found["req_headers"].values()), {"[REDACTED]"})

    def test_chunks(self) -> None:
        """An answer in chunks shows without them, also if it broke off."""
        captures = Captures(100_000)
        store(captures, 1, b"2\r\nab", b"\r\n3;x=y\r\ncde\r\n", chunked=True)
        self.assertEqual(shown(captures, 1)["resp_body"], b"abcde")
        for cut, content in ((b"2\r\nab\r\n5\r\nc", b"abc"), (b"2\r\nab\r\n5", b"ab"), (b"2\r\na", b"a")):
            self.assertEqual(without_chunks(cut), content)

    def test_disabled(self) -> None:
        """Without a buffer nothing is kept."""
        captures = Captures(0)
        store(captures, 1, b"x")
        self.assertEqual(captures.numbers(), set())


class BoundTests(SynchronousTestCase):
    """The bound of all captures together."""

    def test_oldest_go(self) -> None:
        """Newer captures take the place of the oldest."""
        captures = Captures(10 * (OVERHEAD + 5000))
        requests = [store(captures, number, b"x" * 4096) for number in range(100)]
        kept = captures.numbers()
        self.assertEqual(kept, set(range(100 - len(kept), 100)))
        self.assertGreaterEqual(len(kept), 9)
        self.assertEqual([request.number for request in requests if request.answer is not None], sorted(kept))

    def test_too_large(self) -> None:
        """What does not fit at all is not kept, and costs no other its place."""
        captures = Captures(50_000)
        store(captures, 1, b"x")
        store(captures, 2, b"x" * 60_000)
        store(captures, 3, b"x", body=b"y" * 60_000)
        self.assertEqual(captures.numbers(), {1})
        self.assertEqual(captures._used, captures._stored[0].room)

    def test_resize(self) -> None:
        """With less room the oldest go, and what is under way finds none; what was taken is given back."""
        captures = Captures(100_000)
        for number in range(8):
            store(captures, number, b"x" * 9_000)
        under_way = captures.recording()
        assert under_way is not None
        under_way.add(b"x" * 9_000)
        captures.resize(20_000)
        self.assertEqual(captures.numbers(), {7})
        captures.resize(0)
        end(captures, 8, under_way)
        self.assertEqual((captures._used, captures.recording(), captures.get(8)), (0, None, None))
        captures.resize(20_000)
        store(captures, 9, b"x")
        self.assertEqual(shown(captures, 9)["resp_body"], b"x")

    def test_under_way(self) -> None:
        """Answers that are still coming count: together they never take more than the bound."""
        captures = Captures(100_000)
        recordings = [captures.recording() for _ in range(50)]
        for _ in range(100):
            for recording in recordings:
                assert recording is not None
                recording.add(b"x" * 100)
                taken = sum(len(other.body) for other in recordings if other is not None and other.body)
                self.assertLessEqual(taken, 100_000)
        for number, recording in enumerate(recordings):
            end(captures, number, recording, body=b"")
        self.assertLessEqual(captures._used, 100_000)
        self.assertEqual(captures._used, sum(request.room for request in captures._stored))
