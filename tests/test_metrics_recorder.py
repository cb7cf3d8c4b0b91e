"""Requests that are over are settled together, and counted."""

from __future__ import annotations

import gzip
import random
import weakref
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config, StoreConfig
from llama_swap.errors import UpstreamError
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.metrics.query import ActivityQuery
from llama_swap.metrics.recorder import BATCH, HEAVY, LONGEST_SESSION, SOON
from llama_swap.metrics.records import Retention
from llama_swap.metrics.tallies import SECONDS
from tests.fakes_web import keep_records

JSON = ((b"Content-Type", b"application/json"),)
EVENTS = ((b"Content-Type", b"text/event-stream"),)
USAGE = b'{"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}}'
ASKED: dict[str, Any] = {
    "method": b"POST",
    "path": b"/v1/completions",
    "fields": (),
    "client": None,
    "body": b"",
    "metered": True,
}


class RecorderCase(SynchronousTestCase):
    """Records, and requests for them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.records = keep_records(self.clock, Retention(capture_bytes=100_000, session_headers=["X-S"]))
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def request(self, **changes: Any) -> InFlightRequest:
        """Return a request that has just come."""
        return self.records.in_flight.add("m", **{**ASKED, **changes})


class BatchTests(RecorderCase):
    """When requests are settled."""

    def test_soon(self) -> None:
        """A single request is settled a moment later."""
        self.request().over()
        self.assertEqual(self.records.activity.latest, 0)
        self.clock.advance(SOON)
        self.assertEqual(self.records.activity.latest, 1)

    def test_many(self) -> None:
        """Many are settled as soon as there are enough of them."""
        for _ in range(BATCH):
            self.request().over()
        self.assertEqual(self.records.activity.latest, BATCH)
        self.clock.advance(SOON)

    def test_large(self) -> None:
        """What is large does not wait for others."""
        for size, body, recorded in ((HEAVY // 2, b"", 0), (HEAVY // 4, b"x" * (HEAVY // 4 + 1), 2), (9, b"", 2)):
            request = self.request(body=body)
            request.begin(200, JSON, chunked=False)
            request.data(b"x" * size)
            request.over()
            self.assertEqual(self.records.activity.latest, recorded)
        self.clock.advance(SOON)
        self.assertEqual(self.records.activity.latest, 3)

    def test_in_turn(self) -> None:
        """Entries are numbered in the order in which requests ended, whatever their models."""
        requests = [self.request(), self.records.in_flight.add("n", **ASKED), self.request()]
        for request in reversed(requests):
            request.over()
        self.records.settle()
        self.assertEqual([request.number for request in requests], [3, 2, 1])
        self.assertEqual(
            {model: tally.requests.total() for model, tally in self.records.tallies.items()}, {"m": 2, "n": 1}
        )

    def test_once(self) -> None:
        """A request is over once, whoever says so."""
        request = self.request()
        request.over()
        request.over(UpstreamError("late"))
        self.records.settle()
        self.assertEqual(self.records.activity.latest, 1)
        self.assertEqual(self.records.tallies["m"].errors, {})

    def test_defect(self) -> None:
        """What is odd about one request costs the others nothing."""
        odd = self.request()
        odd.answer_fields = None  # type: ignore[assignment]
        odd.over()
        self.request().over()
        self.records.settle()
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(self.records.tallies["m"].requests.total(), 1)


class CompressedTests(RecorderCase):
    """Counts of answers that were compressed."""

    def counts(self, content: bytes, *, size: int = 100, chunked: bool = False, coding: bytes = b"gzip") -> list[int]:
        """Return the counts of input and output of an answer that comes in parts of this size."""
        request = self.request()
        packed = gzip.compress(content)
        parts = [packed[at : at + size] for at in range(0, len(packed), size)]
        request.begin(200, (*JSON, (b"Content-Encoding", coding)), chunked=chunked)
        for part in parts:
            request.data(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        request.over()
        self.records.settle()
        return list(request.tokens[:2])

    def test_whole(self) -> None:
        """They are read once the request is over, wherever its chunks end; unless nobody here can read the coding."""
        for size in (1, 7, 1000):
            for chunked in (False, True):
                self.assertEqual(self.counts(USAGE, size=size, chunked=chunked), [5, 7])
        self.assertEqual(self.counts(USAGE, coding=b"identity"), [-1, -1])  # a server that lies
        self.assertEqual(self.counts(USAGE, coding=b"br"), [-1, -1])

    def test_long(self) -> None:
        """A long answer has counts if it was kept for a capture; its end alone says nothing."""
        noise = random.Random(1).randbytes(20_000).hex().encode()
        self.assertEqual(self.counts(noise + USAGE), [5, 7])
        self.assertEqual(self.counts(USAGE[:-1] + b"," + noise), [5, 7])
        self.records.follow(Retention(capture_bytes=0))
        self.assertEqual(self.counts(noise + USAGE), [-1, -1])

    def test_in_turns(self) -> None:
        """Answers that grow much are not all unpacked in one turn, except at the end; each has its entry."""

        def come() -> list[InFlightRequest]:
            requests = [self.request() for _ in range(5)]
            for request in requests:
                request.begin(200, (*JSON, (b"Content-Encoding", b"gzip")), chunked=False)
                request.data(packed)
                request.over()
            return requests

        packed = gzip.compress(bytes(HEAVY) + USAGE)
        seen: list[int] = []
        requests = come()
        self.clock.callLater(SOON, lambda: seen.append(self.records.activity.latest))
        self.clock.advance(SOON)
        self.assertEqual((seen, self.records.activity.latest), ([1], 5))
        requests += come()
        self.records.settle()
        self.assertEqual([request.number for request in requests], list(range(1, 11)))
        self.assertEqual({request.tokens[1] for request in requests}, {7})


class MemoryTests(RecorderCase):
    """What a request that is over still takes."""

    def test_error(self) -> None:
        """Of an error the words are kept, but nothing of what was at hand when it arose, such as the request's body."""

        class Large:
            pass

        def fail(large: Large) -> None:
            raise UpstreamError("it closed the connection")

        large = Large()
        gone = weakref.ref(large)
        request = self.request()
        try:
            fail(large)
        except UpstreamError as error:
            request.over(error)
        del large
        self.assertIsNone(gone())
        self.records.settle()
        [entry], _ = self.successResultOf(self.records.activity.page(ActivityQuery.from_arguments({})))
        self.assertEqual((entry.status, entry.error), (502, "it closed the connection"))


class CountTests(RecorderCase):
    """What is counted."""

    def test_streamed(self) -> None:
        """Times of each phase, and tokens."""
        request = self.request()
        self.clock.advance(2)
        request.grant()
        request.begin(200, EVENTS, chunked=False)
        self.clock.advance(0.4)
        request.data(USAGE)
        self.clock.advance(6)
        request.over()
        self.records.settle()
        tally = self.records.tallies["m"]
        self.assertEqual((tally.input_tokens, tally.output_tokens, tally.cached_tokens), (5, 7, 2))
        for spread, seconds in ((tally.waiting, 2), (tally.first_byte, 2.4), (tally.duration, 8.4)):
            self.assertAlmostEqual(spread.total, seconds)
            bucket = next(number for number, bound in enumerate(SECONDS) if seconds <= bound)
            self.assertEqual((spread.buckets[bucket], sum(spread.buckets)), (1, 1))
        self.assertEqual(tally.requests, {200: 1})

    def test_another_extent(self) -> None:
        """More or less can be kept from one request to the next; what is kept already stays, as far as it fits."""
        for retention, session, kept in (
            (Retention(capture_bytes=100_000, session_headers=["X-T"]), "t", {1, 2}),
            (Retention(capture_bytes=0), None, set()),
            (Retention(capture_bytes=100_000, session_headers=["x-s", "X-T"]), "s", {4}),
        ):
            if self.records.activity.latest == 0:
                self.finished()
            self.records.follow(retention)
            request = self.finished()
            self.assertEqual(self.records.in_flight.recorder.metadata(request).get("session_id"), session)
            self.assertEqual(self.records.captures.numbers(), kept)

    def test_long_session(self) -> None:
        """Of the id of a session, no more is kept than people can use."""
        fields = ((b"x-s", b"s" * 60_000),)
        request = self.request(fields=fields)
        request.over()
        self.records.settle()
        self.assertEqual(request.facts.metadata, {"session_id": "s" * LONGEST_SESSION})

    def finished(self) -> InFlightRequest:
        """Return a request that was answered."""
        request = self.request(fields=((b"X-S", b"s"), (b"X-T", b"t")))
        request.begin(200, JSON, chunked=False)
        request.data(USAGE)
        request.over()
        self.records.settle()
        return request

    def test_fewer_in_memory(self) -> None:
        """The latest entries of the activity are kept, as many as are wanted by now."""
        query = ActivityQuery.from_arguments({})
        for most, expected in ((2, [2, 1]), (1, [3]), (3, [4, 3])):
            self.records.follow(Retention(most_in_memory=most))
            while self.records.activity.latest < expected[0]:
                self.finished()
            entries, _ = self.successResultOf(self.records.activity.page(query))
            self.assertEqual([entry.number for entry in entries], expected)

    def test_other_files(self) -> None:
        """What is over stays in the file, or the memory, of its time; no number is used twice."""
        self.addCleanup(self.clock.advance, 1)  # what is left is written
        query = ActivityQuery.from_arguments({})
        bases = [Path(self.mktemp()) for _ in range(2)]
        for base in bases:
            base.mkdir()
        stored = Config(models={}, store=StoreConfig(path="x.db"))
        for base, config, expected in (
            (bases[0], stored, [2, 1]),
            (bases[0], stored, [4, 3, 2, 1]),
            (bases[1], stored, [6, 5]),
            (bases[0], stored, [8, 7, 4, 3, 2, 1]),
            (bases[0], Config(models={}), [10, 9]),
            (bases[0], Config(models={}), [12, 11, 10, 9]),
            (bases[1], stored, [14, 13, 6, 5]),
        ):
            self.records.follow(self.records.prepared(base, config))
            for _ in range(2):
                self.finished()
            entries, _ = self.successResultOf(self.records.activity.page(query))
            self.assertEqual([entry.number for entry in entries], expected)

    def test_not_streamed(self) -> None:
        """The first byte of an answer in one piece says nothing about tokens."""
        request = self.request()
        request.begin(200, JSON, chunked=False)
        request.data(USAGE)
        request.over()
        self.records.settle()
        self.assertEqual(sum(self.records.tallies["m"].first_byte.buckets), 0)

    def test_refused(self) -> None:
        """An error is counted by its code and status, and has no turn."""
        self.request().over(UpstreamError("no"))
        self.records.settle()
        tally = self.records.tallies["m"]
        self.assertEqual((tally.requests, tally.errors), ({502: 1}, {"bad_gateway": 1}))
        self.assertEqual(sum(tally.waiting.buckets), 0)

    def test_not_metered(self) -> None:
        """What is only passed on is not counted."""
        self.request(metered=False).over()
        self.assertEqual(dict(self.records.tallies), {})

    def test_unreadable(self) -> None:
        """Of a capture, pictures and sound are left out, asked for or answered."""
        form, sound = ((b"Content-Type", b"multipart/form-data"),), ((b"content-type", b"audio/wav"),)
        for fields, answer_fields, size, kept in (
            (JSON, JSON, 9, (b"q", b"x" * 9)),
            (form, JSON, 9, (None, b"x" * 9)),
            (JSON, sound, 9, (b"q", b"")),
            (JSON, sound, 9000, (b"q", b"")),
        ):
            request = self.request(fields=fields, body=b"q")
            request.begin(200, answer_fields, chunked=False)
            request.data(b"x" * size)
            request.over()
            self.records.settle()
            capture = self.records.captures.get(self.records.activity.latest)
            assert capture is not None
            self.assertEqual((capture.body, capture.answer), kept)

    def test_nothing_captured(self) -> None:
        """Where no capture is kept, an entry holds on to nothing large."""
        self.records.follow(Retention(capture_bytes=0))
        for size in (9, 9000):
            request = self.request(body=b"q" * 9000)
            request.begin(200, JSON, chunked=False)
            request.data(b"x" * size)
            request.over()
            self.records.settle()
            self.assertEqual((request.body, request.answer, request.fields), (None, None, ()))

    def test_clock_put_back(self) -> None:
        """Less than no time is none."""
        request = self.request()
        request.arrived += 5
        request.over()
        self.finished()
        self.assertEqual(self.records.tallies["m"].duration.total, 0)
        self.assertEqual(sum(self.records.tallies["m"].duration.buckets), 2)

    def test_long_stream(self) -> None:
        """Of a long answer the ends are kept, whatever the size of its parts; the capture is whole."""
        for size in (1, 100, 5000, 70_000):
            request = self.request()
            request.begin(200, EVENTS, chunked=False)
            body = b"x" * 70_000 + USAGE
            for at in range(0, len(body), size):
                request.data(body[at : at + size])
            request.over()
            self.records.settle()
            capture = self.records.captures.get(self.records.activity.latest)
            assert capture is not None
            self.assertEqual((capture.answer, request.size), (body, len(body)))
        self.assertEqual(self.records.tallies["m"].output_tokens, 4 * 7)
