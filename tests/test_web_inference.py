"""Requests whose model is in their JSON body."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.json_outline import MOST_MEMBERS
from llama_swap.bodies.spool import IN_MEMORY
from llama_swap.config.model import Config, Filters
from llama_swap.errors import BadRequest, TooManyRequests, Unavailable
from llama_swap.scheduling.commands import Target
from llama_swap.server.request import SMALL
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.paths import GET, POST
from tests.fakes_web import Endpoints, FakeLease, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Client

CHAT = "/v1/chat/completions"
MILD = Filters(set_params_by_id={"mild:short": {"n": 1}})
DEEP = Filters(set_params={"x.n": 1})
FILTERS = Filters(strip_params=("top_p",), set_params={"n": 1}, set_params_by_id={"strict:short": {"max_tokens": 5}})
CONFIG = Config(
    models={
        **models("a"),
        **models("org/m:Q4", aliases=("gpt-4", "coding:x")),
        **models("renamed", aliases=("old",), use_model_name="real/name ü"),
        **models("strict", aliases=("strict:short",), use_model_name="s", filters=FILTERS),
        **models("deep", filters=DEEP),
        **models("mild", aliases=("mild:short",), use_model_name="m", filters=MILD),
    },
    profiles={"coding": ("a", "renamed", "org/m:Q4")},
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


class InferenceTests(SynchronousTestCase):
    """The routes, with client and upstream in memory."""

    def setUp(self) -> None:
        """Make the proxy and a client."""
        self.router = FakeRouter(CONFIG)
        self.endpoints = Endpoints()
        self.upstream = self.endpoints.upstream
        self.in_flight = unwatched()
        self.threads: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        routes = InferenceRoutes(Forwarder(self.router, self.endpoints, self.in_flight), self.in_thread)
        self.client = Client(site_of(Front(app_with(routes.add_to)), max_body=4_000_000))

    def in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Stand for a thread that runs when the test says so."""
        done: Deferred[Any] = Deferred()
        self.threads.append((function, done))
        return done

    def sent(self) -> bytes:
        """Let the request through; return what the upstream gets."""
        self.router.grant()
        wire = self.upstream.accept()
        sent = wire.take()
        wire.deliver(OK)
        self.assertEqual(self.client.answer().body, b"OK")
        return sent

    def test_paths(self) -> None:
        """Each path takes POST, and goes upstream with its query; what tells servers apart here is taken off there."""
        for path in POST:
            self.client.ask("POST", path + "?x=%20//", b'{"model":"a"}')
            told = path.replace("/v/", "/").removeprefix("/audioapi")
            self.assertTrue(self.sent().startswith(b"POST %b?x=%%20// HTTP/1.1\r\n" % told.encode()), path)
            if path not in GET:
                self.client.ask("GET", path)
                self.assertEqual(self.client.error(), (405, f"{path} takes POST"))

    def test_any_content_type(self) -> None:
        """The body is read as JSON, whatever type the client says it has."""
        for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain; charset=utf-16", ""):
            self.client.ask("POST", CHAT, b'{"model":"a"}', {"Content-Type": kind})
            self.assertIn(f"Content-Type: {kind}\r\n".encode(), self.sent())

    def test_filters(self) -> None:
        """What a model wants out of requests, or in, is; for other names, more; every other byte stays."""
        for name, more in (("strict", b""), ("strict:short", b',"max_tokens":5')):
            self.client.ask("POST", CHAT, b'{ "top_p":0.50,"t":1.0, "model":"%b" }' % name.encode())
            self.assertTrue(self.sent().endswith(b'\r\n\r\n{ "t":1.0, "model":"s","n":1%b }' % more))

    def test_filters_of_large(self) -> None:
        """Bodies of any size are changed in the same way, at once; JSON that is said to be a form, too; forms not."""
        for size in (10, 2 * SMALL, 2 * IN_MEMORY):
            for kind in ("application/json", "application/x-www-form-urlencoded"):
                before = b'{"top_p":1, "model":"strict","x":"%b", "top_p":0,"max_tokens": 7}' % (b"x" * size)
                self.client.ask("POST", CHAT, before, {"Content-Type": kind})
                head, _, sent = self.sent().partition(b"\r\n\r\n")
                self.assertTrue(sent == b'{"model":"s","x":"%b", "max_tokens": 7,"n":1}' % (b"x" * size), size)
                self.assertTrue(head.endswith(b"Content-Length: %d" % len(sent)))
        form = b"top_p=1&model=%b&x=" + b"x" * 2 * IN_MEMORY
        self.client.ask("POST", CHAT, form % b"strict", {"Content-Type": "application/x-www-form-urlencoded"})
        self.assertTrue(self.sent().endswith(b"\r\n\r\n" + form % b"s"))
        self.assertEqual(self.threads, [])

    def test_filters_of_another_name(self) -> None:
        """Where they have nothing to do for the name that was asked for, the body is as without them, however large."""
        body = b'{"model":"%b"' + b',"a":0' * MOST_MEMBERS + b"}"
        self.client.ask("POST", CHAT, body % b"mild")
        self.assertTrue(self.sent().endswith(b"\r\n\r\n" + body % b"m"))
        self.client.ask("POST", CHAT, b'{"model":"mild:short"}')
        self.assertTrue(self.sent().endswith(b'\r\n\r\n{"model":"m","n":1}'))

    def test_too_many_members(self) -> None:
        """A body with more members than anybody counts is refused where filters would have to find theirs."""
        body = b'{"model":"%b"' + b',"a":0' * MOST_MEMBERS + b"}"
        self.client.ask("POST", CHAT, body % b"strict")
        self.assertEqual(self.client.error()[0], 400)
        self.client.ask("POST", CHAT, body % b"a")
        self.assertTrue(self.sent().endswith(b',"a":0}'))

    def test_filters_in_thread(self) -> None:
        """A path that leads into much is followed in a thread; the request goes on then, if anybody still waits."""
        body = b'{"model":"deep","x":{"x":"%b"}}' % (b"x" * 2 * IN_MEMORY)
        self.client.ask("POST", CHAT, body)
        [(function, done)] = self.threads
        self.assertEqual(self.router.targets, [])
        done.callback(function())
        self.assertTrue(self.sent().endswith(b'x","n":1}}'))
        self.client.ask("POST", CHAT, body)
        self.threads.pop()[1].errback(BadRequest("too many"))
        self.assertEqual(self.client.error(), (400, "too many"))
        self.client.ask("POST", CHAT, body)
        self.client.leave()
        self.threads.pop()[1].callback(b"{}")
        self.assertEqual((len(self.router.targets), list(self.in_flight)), (1, []))

    def test_body_is_untouched(self) -> None:
        """Where nothing has to change, nothing does; the length is exact, even if the body came in chunks."""
        body = b' {"x": [1e400, "\\ud800"],\r\n"mod\\u0065l" : "\\u0061"}\n'
        self.client.ask("POST", CHAT, body)
        self.assertTrue(self.sent().endswith(b"\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)))
        self.client.send(b"POST %b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" % CHAT.encode())
        self.client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        sent = self.sent()
        self.assertTrue(sent.endswith(b"\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)))
        self.assertNotIn(b"chunked", sent)

    def test_other_forms(self) -> None:
        """Forms name a model, too; what the upstream gets has the name that it knows, and is otherwise unchanged."""
        fields = b"--B\r\nContent-Disposition: form-data; name=model\r\n\r\n%b\r\n--B--\r\n"
        for kind, body, old, new in (
            ("multipart/form-data; boundary=B", fields, b"old", "real/name ü".encode()),
            ("application/x-www-form-urlencoded", b"x=1&model=%b&y", b"o%6cd", b"real%2Fname+%C3%BC"),
        ):
            self.client.ask("POST", "/v1/audio/transcriptions", body % old, {"Content-Type": kind})
            self.assertEqual(self.router.targets[-1], Target("renamed"))
            head, _, sent = self.sent().partition(b"\r\n\r\n")
            self.assertEqual(sent, body % new)
            self.assertTrue(head.endswith(b"Content-Length: %d" % len(sent)))

    def test_queries(self) -> None:
        """Some routes have no body, and the model in their query."""
        for path in GET:
            self.client.ask("GET", path + "?x=%20&model=a&model_x=b")
            self.assertTrue(self.sent().startswith(b"GET %b?x=%%20&model=a&model_x=b HTTP/1.1\r\n" % path.encode()))
            self.client.ask("GET", path + "?model=old")
            self.assertTrue(self.sent().startswith(b"GET %b?model=real%%2Fname+%%C3%%BC HTTP/1.1\r\n" % path.encode()))
            for query in ("", "?", "?model=", "?x=1", "?model=a&model=a"):
                self.client.ask("GET", path + query)
                self.assertEqual(self.client.error()[0], 400, path + query)

    def test_head(self) -> None:
        """Nor is a model loaded for who wants to know whether there is such a page."""
        for path in GET:
            self.client.ask("HEAD", f"{path}?model=a")
            answer = self.client.answer("HEAD")
            allowed = "GET, POST" if path in POST else "GET"
            self.assertEqual((answer.status, answer["Allow"]), (405, allowed), path)
        self.assertEqual(self.router.targets, [])

    def test_encoded_path(self) -> None:
        """A path that is spelled in another way is the same path, for bodies of any size, and goes upstream so."""
        for size in (10, 2 * SMALL):
            for path, told in (
                ("/v1/%63ompletions", "/v1/%63ompletions"),
                ("/%76/completions?x", "/completions?x"),
                ("//v1/completions?x=//", "/v1/completions?x=//"),  # a base URL that ends with a slash
                ("///v/completions", "/completions"),
            ):
                body = b'{"model":"a","x":"%b"}' % (b"x" * size)
                self.client.ask("POST", path, body)
                sent = self.sent()
                self.assertTrue(sent.startswith(b"POST %b HTTP/1.1\r\n" % told.encode()))
                self.assertTrue(sent.endswith(body))

    def test_slashes_before_a_query(self) -> None:
        """The same for paths whose query names the model."""
        self.client.ask("GET", "//props?model=a")
        self.assertTrue(self.sent().startswith(b"GET /props?model=a HTTP/1.1\r\n"))

    def test_lower_case(self) -> None:
        """`post` is another method than `POST`, for bodies of any size."""
        for method in ("post", "Post"):
            for size in (10, 2 * SMALL):
                self.client.ask(method, CHAT, b'{"model":"a","x":"%b"}' % (b"x" * size))
                answer = self.client.answer()
                self.assertEqual((answer.status, answer["Allow"]), (405, "POST"))
        self.assertEqual(self.router.targets, [])

    def test_large(self) -> None:
        """Large bodies go the same way: untouched, renamed, or refused."""
        long = b"[1,2,3]," * (SMALL // 4)
        for name, told in ((b"a", b"a"), (b"old", b"real/name \\u00fc")):
            body = b'{"x":[%b0] ,"model": "%b"}\n'
            self.client.ask("POST", CHAT, body % (long, name))
            head, _, sent = self.sent().partition(b"\r\n\r\n")
            self.assertTrue(sent == body % (long, told))
            self.assertTrue(head.endswith(b"Content-Length: %d" % len(sent)))
        for body in (b'{"model":"a","x":[%b]}' % long, b'{"x":"%b"}' % long, b'{"model":"a","x":"%b' % long):
            self.client.ask("POST", CHAT, body)
            self.assertEqual(self.client.error()[0], 400)

    def test_names(self) -> None:
        """The name decides who is asked, and as what."""
        for name, target, told in (
            ("a", Target("a"), "a"),
            ("org/m:Q4", Target("org/m:Q4"), "org/m:Q4"),
            ("gpt-4", Target("org/m:Q4"), "gpt-4"),
            ("coding:x", Target("org/m:Q4"), "coding:x"),  # an alias, before it is a profile's member
            ("renamed", Target("renamed"), "real/name ü"),
            ("old", Target("renamed"), "real/name ü"),
            ("coding:a", Target("a", "coding"), "a"),
            ("coding:gpt-4", Target("org/m:Q4", "coding"), "gpt-4"),
            ("coding:org/m:Q4", Target("org/m:Q4", "coding"), "org/m:Q4"),
            ("coding:old", Target("renamed", "coding"), "real/name ü"),
        ):
            self.client.ask("POST", CHAT, b'{"x":1.0, "model" : %b ,"y":"\xc3\xbc"}' % json.dumps(name).encode())
            self.assertEqual(self.router.targets[-1], target)
            head, _, body = self.sent().partition(b"\r\n\r\n")
            self.assertEqual(body, b'{"x":1.0, "model" : %b ,"y":"\xc3\xbc"}' % json.dumps(told).encode())
            self.assertTrue(head.endswith(b"Content-Length: %d" % len(body)))

    def test_unknown(self) -> None:
        """A model that nobody knows is 404 and named, whatever the name holds."""
        for name in ("nobody", "A", "coding", "coding:", "coding:nobody", ":a", "a\r\nX-Evil: 1", "../a"):
            self.client.ask("POST", CHAT, json.dumps({"model": name}).encode())
            status, message = self.client.error()
            self.assertEqual(status, 404)
            self.assertIn(repr(name.partition("coding:")[2] if "coding:" in name else name), message)
        self.assertEqual(self.router.targets, [])

    def test_half_a_character(self) -> None:
        """What is no text cannot be a name, however large the body is."""
        for padding in (b"", b"x" * SMALL, b"x" * IN_MEMORY):
            self.client.ask("POST", CHAT, b'{"model":"\\ud800","x":"%b"}' % padding)
            status, message = self.client.error()
            self.assertEqual(status, 400)
            self.assertIn("half a character", message)

    def test_bad_bodies(self) -> None:
        """A body without a model that could be read is 400, on a connection that stays usable."""
        for body in (None, b"", b"{}", b"[]", b'{"model":7}', b'{"model":"a"', b'{"model":"a","model":"a"}', b"\xff"):
            self.client.ask("POST", CHAT, body)
            self.assertEqual(self.client.error()[0], 400, body)
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        self.sent()

    def test_compressed(self) -> None:
        """Of a compressed body, large or small, it is said that this is why it cannot be read."""
        gzip = {"Content-Encoding": "gzip"}
        for size in (100, 2 * SMALL):
            self.client.ask("POST", CHAT, b"\x1f\x8b" * size, gzip)
            status, message = self.client.error()
            self.assertEqual(status, 400)
            self.assertIn("invalid JSON", message)
            self.assertIn("Content-Encoding", message)
        self.client.ask("POST", CHAT, b'{"model":"a"}', gzip)
        self.sent()

    def test_refused(self) -> None:
        """Who is not let through is told why."""
        for error, status in ((TooManyRequests("busy"), 429), (Unavailable("unloaded"), 503)):
            self.client.ask("POST", CHAT, b'{"model":"a"}')
            self.router.pending.pop()[1].errback(error)
            self.assertEqual(self.client.error(), (status, str(error)))

    def test_global_limit(self) -> None:
        """So many inferences may be under way, of all models; what is passed on only does not count."""
        self.router.config = evolve(CONFIG, global_concurrency_limit=2)
        for metered in (True, False, True):
            about = {"method": b"GET", "path": b"/", "fields": (), "client": None, "body": None}
            noted = self.in_flight.add("strict", **about, metered=metered)
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        refused = "Too many requests: 2 are in flight or waiting already (globalConcurrencyLimit)"
        self.assertEqual(self.client.error(), (429, refused))
        noted.over(None)
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        self.assertTrue(self.sent())

    def test_nowhere_to_send(self) -> None:
        """If it cannot be said where a model is, its lease is given back, and the request is over, with an error."""
        lease = FakeLease(CONFIG.models["a"])
        for waits in (True, False):
            self.endpoints.defects.append(ZeroDivisionError())
            if not waits:
                self.patch(self.router, "acquire_now", lambda _: lease)
            self.client.ask("POST", CHAT, b'{"model":"a"}')
            released = self.router.grant() if waits else lease
            self.assertEqual(self.client.error()[0], 500)
            self.assertEqual((released.released, list(self.in_flight)), (1, []))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_client_leaves_while_waiting(self) -> None:
        """Who leaves while the model loads does not hold up those behind, and nothing goes upstream."""
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        self.client.leave()
        self.assertEqual((self.router.cancelled, self.upstream.attempts), (1, []))

    def test_lease_is_released(self) -> None:
        """The lease lasts until the answer is over, in whatever way."""
        for ending in ("answer", "cut", "leave"):
            self.setUp()
            self.client.ask("POST", CHAT, b'{"model":"a"}')
            lease = self.router.grant()
            self.assertEqual(lease.released, 0)
            if ending == "answer":
                self.upstream.accept().deliver(OK)
            elif ending == "cut":
                self.upstream.accept().lose()
                self.assertEqual(self.client.error()[0], 502)
            else:
                self.client.leave()
            self.assertEqual(lease.released, 1, ending)

    def test_nobody_heard(self) -> None:
        """A request that a dead model refused waits for a new one, once; its record is that of one request."""
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        lease = self.router.grant()
        self.upstream.refuse()
        self.assertEqual((lease.released, len(self.router.unheard), len(self.router.pending)), (1, 1, 1))
        self.assertEqual(len(list(self.in_flight)), 1)
        self.sent()
        self.assertEqual(list(self.in_flight), [])
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        for _ in range(2):
            self.router.grant()
            self.upstream.refuse()
        self.assertEqual((self.client.error()[0], len(self.router.unheard)), (502, 2))
        self.assertEqual(list(self.in_flight), [])

    def test_nobody_heard_and_nobody_came(self) -> None:
        """If the model is not dead the client hears that nobody listened; or it leaves while that is found out."""
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        self.router.grant()
        self.upstream.refuse()
        self.router.pending.pop()[1].errback(self.router.unheard[0])
        status, message = self.client.error()
        self.assertEqual(status, 502)
        self.assertIn("model a at http://127.0.0.1:5800", message)
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        self.router.grant()
        self.upstream.refuse()
        self.client.leave()
        self.assertEqual((self.router.cancelled, list(self.in_flight)), (1, []))

    def test_pipelined(self) -> None:
        """The lease of a request is released before the next one on its connection asks for its own."""
        request = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\n\r\n" % CHAT.encode() + b'{"model":"a"}'
        self.client.send(request + request)
        self.assertEqual(len(self.router.targets), 1)
        lease = self.router.grant()
        released: list[int] = []
        acquire = self.router.acquire

        def noting(target: Target) -> object:
            released.append(lease.released)
            return acquire(target)

        self.patch(self.router, "acquire", noting)
        self.upstream.accept().deliver(OK)
        self.assertEqual(released, [1])
