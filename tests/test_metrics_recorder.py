"""Requests that are over are settled together, and counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import UpstreamError
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.metrics.recorder import BATCH, SOON
from llama_swap.metrics.records import Records
from llama_swap.metrics.tallies import SECONDS
from tests.fakes import Inline

JSON = ((b"Content-Type", b"application/json"),)
EVENTS = ((b"Content-Type", b"text/event-stream"),)
USAGE = b'{"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}}'


class RecorderCase(SynchronousTestCase):
    """Records, and requests for them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.records = Records.keep(
            self.clock, Inline(), path=None, most_in_memory=1000, capture_bytes=100_000, session_headers=["X-S"]
        )
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
