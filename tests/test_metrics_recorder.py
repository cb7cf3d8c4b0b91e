"""Requests that are over are settled together, and counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import UpstreamError
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.metrics.query import ActivityQuery
from llama_swap.metrics.recorder import BATCH, SOON
from llama_swap.metrics.records import Extent
from llama_swap.metrics.tallies import SECONDS
from tests.fakes_web import keep_records

JSON = ((b"Content-Type", b"application/json"),)
EVENTS = ((b"Content-Type", b"text/event-stream"),)
USAGE = b'{"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}}'


class RecorderCase(SynchronousTestCase):
    """Records, and requests for them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.records = keep_records(self.clock, Extent(capture_bytes=100_000, session_headers=["X-S"]))
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def request(self, **changes: Any) -> InFlightRequest:
        """Return a request that has just come."""
        values: dict[str, Any] = {
            "path": b"/v1/completions",
            "fields": (),
            "client": None,
            "body": b"",
            "metered": True,
        }
        return self.records.in_flight.add("m", method=b"POST", **{**values, **changes})


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
        for extent, session, kept in (
            (Extent(capture_bytes=100_000, session_headers=["X-T"]), "t", [1, 2]),
            (Extent(capture_bytes=0), None, []),
            (Extent(capture_bytes=100_000, session_headers=["x-s", "X-T"]), "s", [4]),
        ):
            if self.records.activity.latest == 0:
                self.finished()
            self.records.follow(extent)
            request = self.finished()
            self.assertEqual(self.records.in_flight.recorder.metadata(request).get("session_id"), session)
            self.assertEqual([number for number in range(9) if number in self.records.captures], kept)

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
            self.records.follow(Extent(most_in_memory=most))
            while self.records.activity.latest < expected[0]:
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
