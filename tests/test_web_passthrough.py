"""`/upstream/MODEL/…`, and everything else that needs the target as it came."""

from __future__ import annotations

import gc
import json
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from klein import Klein
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from llama_swap.config.model import Compat, Config
from llama_swap.errors import NotFound
from llama_swap.routing.names import Names
from llama_swap.routing.peers import PeerModel
from llama_swap.scheduling.commands import Target
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.passthrough import METHODS, MOST_SEGMENTS, PassThrough, split_target
from tests.fakes_web import Endpoints, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Client

CONFIG = Config(
    models={
        **models("a", "a/b", "a/b/c/d", "org/m:Q4", "sp ace", "größe", "a?b", "100%"),
        **models("x", aliases=("al", "al/ias", "v:1")),
        **models("comfyui_auto"),
        **models("based", proxy="http://h:1/base"),
        **models("page", compat=Compat(ignore_websockets=True)),
    },
    profiles={"coding": ("a", "org/m:Q4", "x")},
)

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

SPLIT: dict[bytes, tuple[Target, bytes]] = {
    b"a": (Target("a"), b""),
    b"a/": (Target("a"), b"/"),
    b"a?": (Target("a"), b"?"),
    b"a?x=/y": (Target("a"), b"?x=/y"),
    b"a/?x": (Target("a"), b"/?x"),
    b"a/v1/models": (Target("a"), b"/v1/models"),
    # the rest stays as raw as it came
    b"a//": (Target("a"), b"//"),
    b"a//b": (Target("a"), b"//b"),
    b"a/x%2Fy//%7e/../z;p?q=%20+&r?s": (Target("a"), b"/x%2Fy//%7e/../z;p?q=%20+&r?s"),
    b"a/%ff%00%0d%0a": (Target("a"), b"/%ff%00%0d%0a"),
    b"a/../a/b": (Target("a"), b"/../a/b"),
    b"a/\x7f\xb0%": (Target("a"), b"/\x7f\xb0%"),
    # the longest name wins
    b"a/b": (Target("a/b"), b""),
    b"a/b/": (Target("a/b"), b"/"),
    b"a/b/c": (Target("a/b"), b"/c"),
    b"a/b/c/d": (Target("a/b/c/d"), b""),
    b"a/b/c/d/e": (Target("a/b/c/d"), b"/e"),
    b"a/b/c/de": (Target("a/b"), b"/c/de"),
    b"a/bb": (Target("a"), b"/bb"),
    b"a%2Fb/c": (Target("a/b"), b"/c"),
    b"a%2fb%2Fc%2Fd/e": (Target("a/b/c/d"), b"/e"),
    b"coding:a/b/c": (Target("a", "coding"), b"/b/c"),  # `a/b` is not in the profile
    # other names
    b"org/m:Q4/v1": (Target("org/m:Q4"), b"/v1"),
    b"org%2Fm%3AQ4/v1": (Target("org/m:Q4"), b"/v1"),
    b"sp%20ace/": (Target("sp ace"), b"/"),
    b"gr%C3%B6%C3%9Fe/": (Target("größe"), b"/"),
    b"a%3Fb/": (Target("a?b"), b"/"),
    b"100%25/": (Target("100%"), b"/"),
    b"100%/": (Target("100%"), b"/"),
    # aliases
    b"al/v1": (Target("x"), b"/v1"),
    b"al/ias/v1": (Target("x"), b"/v1"),
    b"al%2Fias/v1": (Target("x"), b"/v1"),
    b"v:1/": (Target("x"), b"/"),
    # members of a profile
    b"coding:a": (Target("a", "coding"), b""),
    b"coding:a/": (Target("a", "coding"), b"/"),
    b"coding:a/v1/models?x": (Target("a", "coding"), b"/v1/models?x"),
    b"coding%3Aa/v1": (Target("a", "coding"), b"/v1"),
    b"coding:org/m:Q4/v1": (Target("org/m:Q4", "coding"), b"/v1"),
    b"coding:al/ias/v1": (Target("x", "coding"), b"/v1"),
}

UNKNOWN: tuple[bytes, ...] = (
    b"",
    b"?",
    b"/",
    b"/a",
    b"A",
    b"nobody/x",
    b"%ff/x",
    b"a%0d%0aX-Evil:%201/",
    b"a%00/",
    b"a%252Fb/",
    b"../a/",
    b"..%2Fa/",
    b"coding/x",
    b"coding:/x",
    b"coding:coding:a/x",
    b"a%2Fb%2Fc",  # a slash that is written as %2F ends no name
)


class SplitTests(SynchronousTestCase):
    """`split_target`."""

    def setUp(self) -> None:
        """Make the names."""
        self.names = Names(CONFIG)

    def test_table(self) -> None:
        """Each target is split as the table says."""
        for uri, expected in SPLIT.items():
            self.assertEqual(split_target(b"/upstream/" + uri, self.names), expected, uri)

    def test_unknown(self) -> None:
        """What fits no name is not found, and the error can be shown."""
        for uri in UNKNOWN:
            error = self.assertRaises(NotFound, split_target, b"/upstream/" + uri, self.names)
            self.assertTrue(str(error).isprintable(), uri)

    def test_forgotten(self) -> None:
        """What was refused is forgotten at once, not only when the garbage collector comes."""
        gc.disable()
        self.addCleanup(gc.enable)
        try:
            split_target(b"/upstream/none", self.names)
        except NotFound as error:
            refusal = weakref.ref(error)
        self.assertIsNone(refusal())

    def test_no_member(self) -> None:
        """Of a profile, the error names the member that is none, without the rest of the path."""
        error = self.assertRaises(NotFound, split_target, b"/upstream/coding:sp%20ace/v1/x", self.names)
        self.assertIn("model 'sp ace' is not part of profile 'coding'", str(error))

    def test_many_slashes(self) -> None:
        """However many slashes a path has, and however long it is, few names are looked for, and short ones."""
        looked_for: list[str] = []

        class Noted(Names):
            def find(self, name: str) -> Target | PeerModel | None:
                looked_for.append(name)
                return super().find(name)

        names = Noted(CONFIG)
        self.assertRaises(NotFound, split_target, b"/upstream/" + b"/" * 20_000, names)
        self.assertRaises(NotFound, split_target, b"/upstream/" + b"x" * 60_000 + b"/y", names)
        self.assertLessEqual(len(looked_for), MOST_SEGMENTS)
        uri = b"/upstream/sp%20ace" + b"/y" * 20_000
        self.assertEqual(split_target(uri, names), (Target("sp ace"), b"/y" * 20_000))

    @settings(deadline=None)
    @given(st.sampled_from(sorted(CONFIG.models)), st.binary(max_size=20))
    def test_rest_is_raw(self, model: str, rest: bytes) -> None:
        """Behind a name that nothing longer fits, any bytes stay as they are."""
        name = b"".join(b"%%%02X" % byte for byte in model.encode())
        uri = b"/upstream/" + name + b"/-" + rest
        self.assertEqual(split_target(uri, self.names), (Target(model), b"/-" + rest))


class RouteTests(SynchronousTestCase):
    """The route, with client and upstream in memory."""

    def setUp(self) -> None:
        """Make the proxy and a client."""
        self.router = FakeRouter(CONFIG)
        self.endpoints = Endpoints()
        routes = PassThrough(Forwarder(self.router, self.endpoints, unwatched()))
        self.site = site_of(Front(app_with(self.add_page, routes.add_to)))
        self.client = Client(self.site)

    def add_page(self, app: Klein) -> None:
        """Add a page that is no model."""

        @app.route("/page/<path:rest>")
        def page(request: Request, rest: str) -> bytes:
            return rest.encode()

    def sent(self) -> bytes:
        """Let the request through; return what the upstream gets."""
        self.router.grant()
        return self.endpoints.upstream.accept().take()

    def test_request(self) -> None:
        """Method, rest, Host, fields and body go to the model, and where the request came from."""
        fields = {"X-Own": "1", "Keep-Alive": "x", "Connection": "X-Drop", "X-Drop": "2"}
        self.client.ask("PUT", "/upstream/a/b//x%2Fy?z", b"\0body", fields)
        self.assertEqual(self.router.targets, [Target("a/b")])
        self.assertEqual(
            self.sent(),
            b"PUT //x%2Fy?z HTTP/1.1\r\nHost: proxy.test\r\nX-Own: 1\r\n"
            b"X-Forwarded-For: 192.0.2.7\r\nContent-Length: 5\r\n\r\n\0body",
        )
        self.assertEqual(self.endpoints.urls, ["http://127.0.0.1:5800"])

    def test_methods(self) -> None:
        """Every usual method passes, with a length only if there is a body."""
        for method in METHODS:
            self.client.ask(method, "/upstream/a/")
            sent = self.sent()
            self.assertTrue(sent.startswith(method.encode() + b" / HTTP/1.1\r\n"), sent)
            self.assertNotIn(b"Content-Length", sent)
            self.client = Client(self.site)
        self.client.ask("TRACE", "/upstream/a/")
        self.assertEqual(self.client.answer().status, 405)

    def test_chunked_body(self) -> None:
        """A chunked body goes with its length."""
        self.client.send(b"POST /upstream/a/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.client.send(b"2\r\nab\r\n0\r\nX-Trailer: 1\r\n\r\n")
        sent = self.sent()
        self.assertTrue(sent.endswith(b"Content-Length: 2\r\n\r\nab"), sent)
        self.assertEqual((sent.count(b"Content-Length"), sent.count(b"Transfer-Encoding")), (1, 0))

    def is_held(self, model: str, answer: bytes) -> bool:
        """Ask for a WebSocket, and return whether its lease is held after this answer.  At the end it never is."""
        client = Client(self.site)
        client.ask("GET", f"/upstream/{model}/ws", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        lease = self.router.grant()
        wire = self.endpoints.upstream.accept()
        self.assertEqual(lease.released, 0)
        wire.deliver(answer)
        held = lease.released == 0
        client.leave()
        self.assertEqual((lease.released > 0, lease.used), (True, held))
        return held

    def test_upgrade(self) -> None:
        """A WebSocket holds its lease to the end, unless its model ignores them: then it was no use of the model."""
        self.assertTrue(self.is_held("a", SWITCHED))
        self.assertFalse(self.is_held("page", SWITCHED))

    def test_upgrade_refused(self) -> None:
        """A request that does not become a WebSocket is one like any other, also where those are ignored."""
        self.assertTrue(self.is_held("page", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))

    def test_without_host(self) -> None:
        """A client of HTTP/1.0 may have no Host: then it is the upstream's."""
        self.client.send(b"GET /upstream/a/ HTTP/1.0\r\n\r\n")
        self.assertIn(b"\r\nHost: 127.0.0.1:5800\r\n", self.sent())

    def test_elsewhere(self) -> None:
        """A server on another machine is asked by its own name, as one behind a virtual host must be."""
        self.client.ask("GET", "/upstream/based/", headers={"X-Own": "1"})
        self.assertTrue(self.sent().startswith(b"GET /base/ HTTP/1.1\r\nHost: h:1\r\nX-Own: 1\r\n"))

    def test_path_of_the_upstream(self) -> None:
        """A path in the model's `proxy` stands before the rest."""
        self.client.ask("GET", "/upstream/based//x?y")
        self.assertTrue(self.sent().startswith(b"GET /base//x?y HTTP/1.1\r\n"))
        self.assertEqual(self.endpoints.urls, ["http://h:1/base"])

    def test_client_addresses(self) -> None:
        """IPv4 and IPv6 clients are told of as they are, wherever they came in; UNIX sockets have no address."""
        for address, lines in (
            (IPv6Address("TCP", "::ffff:192.0.2.9", 5), [b"X-Forwarded-For: 10.0.0.1, 192.0.2.9"]),
            (IPv6Address("TCP", "::ffff:0:c000:209", 5), [b"X-Forwarded-For: 10.0.0.1, ::ffff:0:c000:209"]),
            (IPv6Address("TCP", "2001:db8::1", 5), [b"X-Forwarded-For: 10.0.0.1, 2001:db8::1"]),
            (UNIXAddress("/run/x.sock"), [b"X-Forwarded-For: 10.0.0.1"]),
        ):
            self.client = Client(self.site, address, address)
            self.client.ask("GET", "/upstream/a/", headers={"X-Forwarded-For": "10.0.0.1"})
            sent = self.sent().split(b"\r\n")
            self.assertEqual([line for line in sent if line.lower().startswith(b"x-forwarded")], lines)

    def test_redirect(self) -> None:
        """Without a slash behind the model, a redirect within this host leads there, and nothing starts."""
        for method in METHODS:
            status = 301 if method in ("GET", "HEAD") else 308
            for target, location in (
                ("/upstream/a", "/upstream/a/"),
                ("/upstream/a?x=%2F&y=//z", "/upstream/a/?x=%2F&y=//z"),
                ("/upstream/a%2Fb?", "/upstream/a%2Fb/?"),
                ("/upstream/coding:a", "/upstream/coding:a/"),
            ):
                self.client.ask(method, target, b"body" if method == "POST" else None, {"Host": "evil.test"})
                answer = self.client.answer(method)
                self.assertEqual((answer.status, answer["Location"]), (status, location))
        self.assertEqual(self.router.targets, [])

    def test_unknown(self) -> None:
        """A model that nobody knows is 404 as JSON; its name ends no line."""
        for uri in UNKNOWN:
            self.client.ask("GET", "/upstream/" + uri.decode("latin-1"))
            answer = self.client.answer()
            self.assertEqual((answer.status, answer["Content-Type"]), (404, "application/json"), uri)
            self.assertIsNone(answer["X-Evil"])
            json.loads(answer.body)
        self.assertEqual(self.router.targets, [])

    def test_unknown_in_words(self) -> None:
        """Clients look for these words, to tell our 404 from one of the model's own server."""
        self.client.ask("GET", "/upstream/nobody/health")
        message = json.loads(self.client.answer().body)["error"]["message"]
        self.assertTrue(message.startswith("model not found: there is no 'nobody/health' here"), message)

    def test_comfyui(self) -> None:
        """Only the first page of ComfyUI may start it; once it runs, everything below goes to it as raw as it came."""
        for path, status, location in (
            ("/comfyui?x=1", 301, "/comfyui/?x=1"),
            ("/comfyui/api/queue", 409, None),
            ("/comfyui//", 409, None),
            ("/comfyuix", 404, None),
        ):
            self.client.ask("GET", path)
            answer = self.client.answer()
            self.assertEqual((answer.status, answer["Location"]), (status, location), path)
        self.assertEqual(self.router.targets, [])
        self.client.ask("GET", "/comfyui/?x=%20")
        self.assertEqual(self.router.targets, [Target("comfyui_auto")])
        self.router.grant()
        wire = self.endpoints.upstream.accept()
        self.assertTrue(wire.take().startswith(b"GET /?x=%20 HTTP/1.1\r\n"))
        wire.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.client.answer()
        self.router.upstreams.alive["comfyui_auto"] = "stopping"
        self.client.ask("GET", "/comfyui/api/queue")
        self.assertEqual(
            self.client.error(), (409, "model comfyui_auto is not loaded; only /comfyui/ itself can start it")
        )
        self.router.upstreams.alive["comfyui_auto"] = "ready"
        self.client.ask("POST", "/comfyui/api%2Fqueue//?y", b"x")
        self.router.grant()
        self.assertTrue(self.endpoints.upstream.accept().take().startswith(b"POST /api%2Fqueue//?y HTTP/1.1\r\n"))

    def test_no_comfyui(self) -> None:
        """Where it is not configured there is no page."""
        router = FakeRouter(Config(models=models("a")))
        routes = PassThrough(Forwarder(router, self.endpoints, unwatched()))
        client = Client(site_of(Front(app_with(routes.add_to))))
        client.ask("GET", "/comfyui/")
        self.assertEqual(client.answer().status, 404)

    def test_other_pages(self) -> None:
        """Other pages are Klein's, which reads their paths decoded."""
        self.client.ask("GET", "/page/a%20b/upstream/")
        self.assertEqual(self.client.answer().body, b"a b/upstream/")

    def test_no_utf_8(self) -> None:
        """A path that is no text is no page, which is no news for the log."""
        for path in ("/%ff", "/page/%ff", "/%c0%af", "/page/%ed%a0%80?x"):
            self.client.ask("GET", path)
            answer = self.client.answer()
            self.assertEqual((answer.status, answer["Content-Type"]), (404, "application/json"), path)
