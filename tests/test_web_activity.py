"""What is noted of requests as they pass, and the routes that show it."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config
from llama_swap.errors import StartFailed
from llama_swap.metrics.recorder import SOON
from llama_swap.metrics.records import Retention
from llama_swap.metrics.rfc3339 import seconds_of
from llama_swap.web.activity import ActivityRoutes
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.passthrough import PassThrough
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, keep_records, models, site_of
from tests.fakes_wire import Answer, Client, Wire

CHAT = "/v1/chat/completions"
ASK = b'{"model":"a"}'
USAGE = b'{"usage":{"prompt_tokens":5,"completion_tokens":7}}'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(body: bytes = USAGE, status: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    """Return an upstream's answer."""
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
    return head % (status, fields, len(body)) + body


class ActivityCase(SynchronousTestCase):
    """A proxy that keeps records, a client whose requests are noted, and another one that looks at them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.router = FakeRouter(Config(models=models("a")))
        self.endpoints = Endpoints()
        retention = Retention(capture_bytes=1_000_000, session_headers=["X-Session-ID", "X-Other"])
        self.ahead = 0.0  # of the clock is the time of day
        self.records = keep_records(self.clock, retention, lambda: self.clock.seconds() + self.ahead)
        forwarder = Forwarder(self.router, self.endpoints, self.records.in_flight)
        inference, passing = InferenceRoutes(forwarder, Inline()), PassThrough(forwarder)
        self.beside: list[str] = []
        app = app_with(inference.add_to, passing.add_to, ActivityRoutes(self.records, self.offload).add_to)
        self.site = site_of(Front(app, inference.direct()), max_body=100_000)
        self.client = Client(self.site)
        self.addCleanup(lambda: self.assertEqual(list(self.records.in_flight), []))

    def offload(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Do at once what is for a thread, and keep what came of it."""
        return Inline()(function).addCallback(lambda result: self.beside.append(result) or result)

    def upstream(self) -> Wire:
        """Let the request that waits through to its model."""
        self.lease = self.router.grant()
        return self.endpoints.upstream.accept()

    def look(self, path: str, method: str = "GET") -> Answer:
        """Return what another client gets."""
        other = Client(self.site)
        other.ask(method, path)
        return other.answer()

    def entries(self, arguments: str = "") -> list[dict[str, Any]]:
        """Return the activity, the latest first."""
        page = json.loads(self.look(f"/api/metrics/activity{arguments}").body)
        found: list[dict[str, Any]] = page["data"]
        return found


class RecordingTests(ActivityCase):
    """What becomes of a request in the activity."""

    def test_answered(self) -> None:
        """An entry has who, what, how long and how much."""
        self.client.ask("POST", CHAT, ASK, {"x-other": "later", "X-SESSION-ID": "s1"})
        self.clock.advance(2)
        wire = self.upstream()
        self.clock.advance(0.5)
        wire.deliver(answer())
        self.assertEqual(self.client.answer().body, USAGE)
        [entry] = self.entries()
        tokens = entry.pop("tokens")
        self.assertEqual(
            entry,
            {
                "id": 1,
                "timestamp": "1970-01-01T00:16:42Z",
                "model": "a",
                "req_path": CHAT,
                "resp_content_type": "application/json",
                "resp_status_code": 200,
                "duration_ms": 2500,
                "has_capture": True,
                "error_msg": "",
                "metadata": {"session_id": "s1"},
            },
        )
        self.assertEqual((tokens["input_tokens"], tokens["output_tokens"], tokens["cache_tokens"]), (5, 7, -1))
        self.assertEqual((tokens["prompt_per_second"], tokens["tokens_per_second"]), (-1, -1))

    def test_encoded_beside(self) -> None:
        """A page of the activity is encoded by a thread: for its 999 entries, streams would wait for 10 ms."""
        for _ in range(2):
            self.client.ask("POST", CHAT, ASK)
            self.upstream().deliver(answer())
        entries = self.entries()
        self.assertEqual([entry["id"] for entry in entries], [2, 1])
        self.assertEqual([json.loads(encoded) for encoded in self.beside], [entries])

    def test_time_of_day(self) -> None:
        """An entry has the time of day at its end, whatever the clock counts from, and whoever sets it later."""
        self.ahead = seconds_of("2026-01-02T03:04:00Z") - self.clock.seconds()
        self.client.ask("POST", CHAT, ASK)
        self.ahead += 3600
        wire = self.upstream()
        self.clock.advance(2.5)
        wire.deliver(answer())
        self.clock.advance(SOON)
        self.ahead -= 7200
        [entry] = self.entries()
        self.assertEqual((entry["timestamp"], entry["duration_ms"]), ("2026-01-02T04:04:02Z", 2500))

    def test_streamed(self) -> None:
        """A stream of chunks ends with its counts."""
        self.client.ask("POST", CHAT, ASK)
        wire = self.upstream()
        wire.deliver(STREAM)
        for data in (b"x" * 5000, USAGE[:20], USAGE[20:]):
            wire.deliver(b"%x\r\n%b\r\n" % (len(data), data))
        self.assertEqual(self.entries(), [])
        wire.deliver(b"0\r\n\r\n")
        [entry] = self.entries()
        self.assertEqual((entry["tokens"]["input_tokens"], entry["tokens"]["output_tokens"]), (5, 7))
        capture = json.loads(self.look("/api/captures/1").body)
        self.assertEqual(b64decode(capture["resp_body"]), b"x" * 5000 + USAGE)
        self.assertEqual((b64decode(capture["req_body"]), capture["req_path"]), (ASK, CHAT))

    def test_compressed(self) -> None:
        """What is compressed is passed on as it is; what it says is counted, and shown."""
        packed = gzip.compress(USAGE)
        self.client.ask("POST", CHAT, ASK, {"Accept-Encoding": "gzip"})
        self.upstream().deliver(answer(packed, fields=b"Content-Encoding: gzip\r\n"))
        self.assertEqual(self.client.answer().body, packed)
        tokens = self.entries()[0]["tokens"]
        self.assertEqual((tokens["input_tokens"], tokens["output_tokens"]), (5, 7))
        capture = json.loads(self.look("/api/captures/1").body)
        self.assertEqual(b64decode(capture["resp_body"]), USAGE)

    def test_pictures_and_sound(self) -> None:
        """Uploads, and answers that nobody reads, are left out of the capture; the rest is there."""
        self.client.ask("POST", f"/upstream/a{CHAT}", ASK, {"Content-Type": "Multipart/form-data; boundary=x"})
        sound = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 4\r\n\r\nRIFF"
        self.upstream().deliver(sound)
        self.assertEqual(self.client.answer().body, b"RIFF")
        self.assertTrue(self.entries()[0]["has_capture"])
        capture = json.loads(self.look("/api/captures/1").body)
        self.assertEqual((capture["req_body"], capture["resp_body"]), ("", ""))
        self.assertEqual(capture["resp_headers"]["Content-Type"], "audio/wav")

    def test_upstream_error(self) -> None:
        """An error of the model's server is an answer as well."""
        self.client.ask("POST", CHAT, ASK)
        self.upstream().deliver(answer(b'{"error":{}}', b"500 Oops"))
        [entry] = self.entries()
        self.assertEqual((entry["resp_status_code"], entry["error_msg"]), (500, ""))

    def test_never_started(self) -> None:
        """A model that does not start is an entry with the error that the client got."""
        self.client.ask("POST", CHAT, ASK)
        self.clock.advance(3)
        self.router.pending.pop()[1].errback(StartFailed("it exited with 1"))
        [entry] = self.entries()
        self.assertEqual((entry["resp_status_code"], entry["error_msg"]), (502, "it exited with 1"))
        self.assertEqual((entry["duration_ms"], entry["resp_content_type"]), (3000, ""))

    def test_broken(self) -> None:
        """An answer that breaks off has the status that the client saw, and an error."""
        self.client.ask("POST", CHAT, ASK)
        wire = self.upstream()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        wire.lose()
        [entry] = self.entries()
        self.assertEqual(entry["resp_status_code"], 200)
        self.assertIn("closed the connection", entry["error_msg"])

    def test_client_left(self) -> None:
        """Clients that leave, while they wait or in mid-answer."""
        self.client.ask("POST", CHAT, ASK)
        self.client.leave()
        self.client = Client(self.site)
        self.client.ask("POST", CHAT, ASK)
        del self.router.pending[0]
        self.upstream().deliver(STREAM)
        self.client.leave()
        streaming, waiting = self.entries()
        self.assertEqual((waiting["resp_status_code"], streaming["resp_status_code"]), (499, 200))
        self.assertIn("left", waiting["error_msg"])
        self.assertIn("left", streaming["error_msg"])
        self.assertEqual(self.lease.released, 1)

    def test_passed_through(self) -> None:
        """Below /upstream/ only inferences are activity, under their own path."""
        for method, path in (("GET", CHAT), ("POST", "/tokenize"), ("POST", f"{CHAT}?x=1")):
            self.client.ask(method, f"/upstream/a{path}", ASK)
            self.upstream().deliver(answer())
            self.client.answer()
        self.assertEqual([entry["req_path"] for entry in self.entries()], [CHAT])


class InFlightTests(ActivityCase):
    """Requests under way."""

    def under_way(self) -> dict[str, Any]:
        """Return the only one, as it is shown."""
        [request] = self.records.in_flight
        return request.as_json()

    def test_shown(self) -> None:
        """What is told of a request, without its secrets, from its coming to its end."""
        self.client.ask("POST", CHAT, ASK, {"Authorization": "Bearer canary", "X-Session-Id": "s1"})
        self.clock.advance(1.5)
        found = self.under_way()
        self.assertNotIn("canary", str(found))
        self.assertEqual(found["metadata"], {"session_id": "s1"})
        self.assertEqual((found["id"], found["model"], found["method"], found["req_path"]), ("1", "a", "POST", CHAT))
        self.assertEqual((found["elapsed_ms"], found["resp_bytes"], found["resp_headers"]), (1500, 0, {}))
        wire = self.upstream()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        self.assertGreater(self.under_way()["resp_bytes"], 2)
        self.assertEqual(self.under_way()["resp_headers"]["Content-Type"], "text/event-stream")
        wire.deliver(b"0\r\n\r\n")

    def test_time_of_day(self) -> None:
        """It has come when it came by the time of day, as that is set now."""
        self.ahead = seconds_of("2026-01-02T03:04:00Z") - self.clock.seconds()
        self.client.ask("POST", CHAT, ASK)
        self.clock.advance(1.5)
        self.assertEqual(self.under_way()["timestamp"], "2026-01-02T03:04:00Z")
        self.ahead += 60
        found = self.under_way()
        self.assertEqual((found["timestamp"], found["elapsed_ms"]), ("2026-01-02T03:05:00Z", 1500))
        self.upstream().deliver(answer())

    def cancelled(self) -> None:
        """Cancel the only request."""
        done = self.look(f"/api/inflight/{self.under_way()['id']}/cancel", "POST")
        self.assertEqual((done.status, json.loads(done.body)), (200, {"msg": "ok"}))

    def test_cancel_while_waiting(self) -> None:
        """The client is told, and the router withdraws the ticket."""
        self.client.ask("POST", CHAT, ASK)
        self.cancelled()
        refused = self.client.answer()
        self.assertEqual((refused.status, json.loads(refused.body)["error"]["code"]), (499, "cancelled"))
        self.assertEqual(self.router.cancelled, 1)
        self.assertEqual(self.entries()[0]["resp_status_code"], 499)

    def test_cancel_while_connecting(self) -> None:
        """Before an answer has begun the client is told."""
        self.client.ask("POST", CHAT, ASK)
        self.router.grant()
        self.cancelled()
        self.assertEqual((self.client.answer().status, self.endpoints.upstream.cancelled), (499, 1))

    def test_cancel_in_mid_answer(self) -> None:
        """The answer breaks off visibly, and the model's server sees its connection closed."""
        self.client.ask("POST", CHAT, ASK)
        wire = self.upstream()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        self.cancelled()
        self.assertTrue(wire.aborted)
        self.assertTrue(self.client.wire.disconnecting)
        self.assertNotIn(b"0\r\n\r\n", self.client.wire.take())
        self.assertEqual(self.lease.released, 1)
        self.assertIn("cancelled by an operator", self.entries()[0]["error_msg"])

    def test_cancel_nothing(self) -> None:
        """There is nothing to be cancelled."""
        for number in ("1", "x", "9" * 30):
            self.assertEqual(self.look(f"/api/inflight/{number}/cancel", "POST").status, 404)


class RouteTests(ActivityCase):
    """The routes."""

    def test_page(self) -> None:
        """A page says where it stands."""
        for _ in range(3):
            self.client.ask("POST", CHAT, ASK)
            self.upstream().deliver(answer())
        found = json.loads(self.look("/api/metrics/activity?limit=2&page=2&model=a").body)
        self.assertEqual([entry["id"] for entry in found.pop("data")], [1])
        self.assertEqual(found, {"page": 2, "limit": 2, "total": 3, "total_pages": 2})

    def test_bad_arguments(self) -> None:
        """What makes no sense is refused in JSON."""
        refused = self.look("/api/metrics/activity?limit=0")
        self.assertEqual((refused.status, json.loads(refused.body)["error"]["code"]), (400, "bad_request"))

    def test_stats(self) -> None:
        """The sums, with or without a model."""
        self.client.ask("POST", CHAT, ASK)
        self.upstream().deliver(answer())
        for argument, count in (("", 1), ("?model=a", 1), ("?model=b", 0), ("?model=", 1)):
            found = json.loads(self.look(f"/api/metrics/stats{argument}").body)
            self.assertEqual((found["total_requests"], found["total_output_tokens"]), (count, 7 * count))

    def test_no_capture(self) -> None:
        """A capture that is not there, or a number that is none."""
        for number, status in (("1", 404), ("x", 400), ("-1", 400), ("9" * 30, 400)):
            self.assertEqual(self.look(f"/api/captures/{number}").status, status)
