"""What pages of other sites may do by way of a browser."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource

from llama_swap.access.gate import MOST_NOTED
from llama_swap.config.model import Config
from llama_swap.config.sections import CorsConfig, SecurityConfig
from llama_swap.server.request import REFUSED_BODY
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.paths import GET, POST
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Answer, Client

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 8080)
EVERYWHERE = IPv4Address("TCP", "0.0.0.0", 8080)
CHAT = "/v1/chat/completions"
PAGE = "https://chat.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


class Inner(Resource):
    """Answers every request that gets so far."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """See `IResource.render`."""
        return b"in"


class GateTestCase(SynchronousTestCase):
    """A gate, and a client in front of it."""

    def setUp(self) -> None:
        """Listen for this machine only, with nothing configured."""
        self.configure()

    def configure(self, address: IAddress = LOOPBACK, **config: Any) -> None:
        """Make the gate."""
        site = site_of(Inner(), **config)
        site.gate.listens_at(address)
        self.client = Client(site, host=address)

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        """Return the answer to a request; a header None is left out."""
        fields = {"Host": "localhost:8080", **{name.replace("_", "-"): text for name, text in headers.items()}}
        self.client.ask(method, path, None, fields)
        return self.client.answer(method)

    def assert_refused(self, answer: Answer, setting: str) -> None:
        """Check that it is a 403 that names the setting, and is for nobody's eyes but the browser's."""
        self.assertEqual(answer.status, 403)
        error = json.loads(answer.body)["error"]
        self.assertIn(setting, error["message"])
        self.assertEqual((error["type"], error["code"]), ("invalid_request_error", "forbidden"))
        self.assertIsNone(answer["Access-Control-Allow-Origin"])


class OriginTests(GateTestCase):
    """Whose page is behind a request."""

    harmful = (
        ("POST", CHAT),
        ("POST", "/nowhere"),
        ("GET", "/unload"),
        ("GET", "//unload"),
        ("GET", "/%75nload"),
        ("GET", "/logs%2f..%2funload"),
        ("GET", "/upstream/a/"),
        ("HEAD", "/upstream/a/"),
        ("OPTIONS", "/upstream/a/"),
        ("GET", "//upstream/a/"),
        ("GET", "/v1/audio/voices?model=a"),
        ("GET", "/props?model=a"),
        ("GET", "/comfyui/"),
        ("POST", "/unload"),
        ("POST", "/api/models/unload"),
        ("PUT", "/api/profiles/active"),
        ("DELETE", "/api/x"),
    )
    harmless = (
        "/",
        "/health",
        "/wol-health",
        "/favicon.ico",
        "/running",
        "/metrics",
        "/log",
        "/logs",
        "/logs/stream",
        "/ui",
        "/ui/",
        "/v1/models",
        "/v1/models/a/x",
        "/models",
        "/upstream",
        "/api/events",
    )

    def test_foreign(self) -> None:
        """A foreign page may start, stop and change nothing, however the path is spelled."""
        for origin in (
            PAGE,
            "null",
            "",
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "http://127.evil.test",
            "http://evil.test/localhost",
            "http://localhost@evil.test",
            "http://evil.test:8080",
            "http://192.168.1.5",
            "localhost",
            "://localhost",
            "http://",
            "http://:8080",
            "http://localhost evil",
        ):
            for method, path in self.harmful:
                if method == "HEAD":
                    self.assertEqual(self.ask(method, path, Origin=origin).status, 403)
                else:
                    self.assert_refused(self.ask(method, path, Origin=origin), "allowedOrigins")

    def test_cross_site(self) -> None:
        """So may a page that says no more than that it is another site's: a picture, a link, a form of long ago."""
        for method, path in self.harmful:
            self.assertEqual(self.ask(method, path, Sec_Fetch_Site="cross-site").status, 403, path)
        for site in ("same-origin", "same-site", "none"):
            self.assertEqual(self.ask("GET", "/unload", Sec_Fetch_Site=site).status, 200)

    def test_looking_is_harmless(self) -> None:
        """What only shows something is answered, but no foreign page can read the answer."""
        for path in self.harmless:
            for headers in ({"Origin": PAGE}, {"Sec_Fetch_Site": "cross-site"}):
                for method in ("GET", "HEAD"):
                    answer = self.ask(method, path, **headers)
                    self.assertEqual((answer.status, answer["Access-Control-Allow-Origin"]), (200, None), path)

    def test_own_pages(self) -> None:
        """Pages of this machine, and of the host that the request is for, may do everything."""
        self.configure(EVERYWHERE)
        for origin, host in (
            ("http://localhost", "gpu.example:8080"),
            ("http://localhost:3000", "gpu.example:8080"),
            ("https://app.localhost:3000", "gpu.example"),
            ("http://127.0.0.1:5173", "gpu.example"),
            ("http://[::1]:5173", "gpu.example"),
            ("tauri://localhost", "gpu.example"),
            ("http://gpu.example", "gpu.example:8080"),
            ("https://GPU.example:443", "gpu.Example."),
            ("http://192.168.1.2:3000", "192.168.1.2:8080"),
            ("http://[fd00::1]:3000", "[fd00::1]"),
        ):
            for method, path in self.harmful:
                answer = self.ask(method, path, Origin=origin, Host=host, Sec_Fetch_Site="cross-site")
                self.assertEqual(answer.status, 200, (origin, host))

    def test_no_host(self) -> None:
        """Without a host (HTTP/1.0), no page is that host's own: only those of this machine may do everything."""
        for origin, status in ((PAGE, 403), ("http://localhost:3000", 200)):
            self.configure()
            self.client.send(f"POST {CHAT} HTTP/1.0\r\nOrigin: {origin}\r\n\r\n".encode())
            self.assertEqual(self.client.answer().status, status)

    def test_no_browser(self) -> None:
        """Clients that say nothing of pages are none of this module's business."""
        for method, path in self.harmful:
            answer = self.ask(method, path)
            self.assertEqual((answer.status, answer["Vary"]), (200, None))

    def test_allowed(self) -> None:
        """Pages of a listed origin may do everything, and read answers of models; those of others may not."""
        self.configure(allowed_origins=(PAGE, "http://x:1"))
        for origin in (PAGE, PAGE.upper(), "http://x:1"):
            for method, path in self.harmful:
                self.assertEqual(self.ask(method, path, Origin=origin, Sec_Fetch_Site="cross-site").status, 200)
            for path in (CHAT, "/v1/models", "/models", "/upstream/a/x", "/comfyui/x", "/rerank"):
                answer = self.ask("POST", path, Origin=origin)
                self.assertEqual((answer["Access-Control-Allow-Origin"], answer["Vary"]), (origin, "Origin"))
        for origin in (f"{PAGE}:8443", PAGE.replace("s:", ":"), f"{PAGE}.evil.test", "http://x"):
            self.assert_refused(self.ask("POST", CHAT, Origin=origin), "allowedOrigins")
        self.assert_refused(self.ask("GET", "/unload", Sec_Fetch_Site="cross-site"), "allowedOrigins")

    def test_all_allowed(self) -> None:
        """`*` opens everything to everybody."""
        self.configure(allowed_origins=("*",))
        for headers in ({"Origin": "https://any.test"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
            for method, path in self.harmful:
                self.assertEqual(self.ask(method, path, **headers).status, 200)
        self.assertEqual(self.ask("POST", CHAT, Origin="https://any.test")["Access-Control-Allow-Origin"], "*")

    def test_refused_before_its_body(self) -> None:
        """A page may also read why a request was refused whose body nobody read."""
        for config, status in (({"max_body": 10}, 413), ({"api_keys": ("k",)}, 401)):
            self.configure(allowed_origins=(PAGE,), **config)
            self.client.ask("POST", CHAT, b"x" * 100_000, {"Host": "localhost", "Origin": PAGE})
            answer = self.client.answer()
            self.assertEqual((answer.status, answer["Access-Control-Allow-Origin"]), (status, PAGE))

    def test_every_route_to_a_model(self) -> None:
        """Whatever leads to a model is harmful in foreign hands, and shared with allowed pages."""
        self.configure(allowed_origins=(PAGE,))
        for method, paths in (("POST", POST), ("GET", GET)):
            for path in paths:
                self.assert_refused(self.ask(method, path, Origin="https://evil.test"), "allowedOrigins")
                for spelled in (path, f"/{path}"):  # a base URL that ends with a slash leads to two
                    self.assertEqual(self.ask(method, spelled, Origin=PAGE)["Access-Control-Allow-Origin"], PAGE, path)

    def test_large_bodies(self) -> None:
        """A large body of a foreign page is not even waited for."""
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nOrigin: {PAGE}\r\nContent-Length: {REFUSED_BODY + 1}\r\n\r\n"
        )
        self.client.send(head.encode())
        self.assertEqual(self.client.answer().status, 403)

    def test_management_is_not_shared(self) -> None:
        """What is told about the proxy itself, only its own pages may read, and credentials are never shared."""
        for origins in (("*",), (PAGE,)):
            self.configure(allowed_origins=origins)
            for path in ("/running", "/logs", "/logs/stream", "/unload", "/api/events", "/metrics", "/", "//running"):
                self.assertIsNone(self.ask("GET", path, Origin=PAGE)["Access-Control-Allow-Origin"], path)
            self.assertIsNone(self.ask("GET", "/v1/models", Origin=PAGE)["Access-Control-Allow-Credentials"])

    def test_readers(self) -> None:
        """Pages that `security.cors` lists may read everything, errors included; others are what they were."""
        self.configure(
            security=SecurityConfig(cors=CorsConfig(allowed_origins=(PAGE,))), allowed_origins=("http://x:1",)
        )
        for path in ("/running", "/api/events", CHAT, "/unload"):
            answer = self.ask("GET", path, Origin=PAGE.upper())
            self.assertEqual((answer["Access-Control-Allow-Origin"], answer["Vary"]), (PAGE.upper(), "Origin"))
            self.assertIsNone(answer["Access-Control-Allow-Credentials"])
            self.assertIsNone(answer["Access-Control-Expose-Headers"])
        for origin in ("http://x:1", "http://localhost:3000"):
            self.assertIsNone(self.ask("GET", "/running", Origin=origin)["Access-Control-Allow-Origin"])
            self.assertEqual(self.ask("POST", CHAT, Origin=origin)["Access-Control-Allow-Origin"], origin)
        self.assert_refused(self.ask("POST", CHAT, Origin="https://evil.test"), "allowedOrigins")
        self.configure(security=SecurityConfig(cors=CorsConfig(allowed_origins=("*",))))
        self.assertEqual(self.ask("GET", "/running", Origin="https://any.test")["Access-Control-Allow-Origin"], "*")

    def test_trusted_readers(self) -> None:
        """Credentials and more headers are for them alone, and never for all."""
        trusting = CorsConfig(allowed_origins=(PAGE,), allow_credentials=True, exposed_headers=("X-A", "X-B"))
        self.configure(security=SecurityConfig(cors=trusting), allowed_origins=("*",))
        answer = self.ask("GET", "/running", Origin=PAGE)
        self.assertEqual(
            (answer["Access-Control-Allow-Origin"], answer["Access-Control-Allow-Credentials"]), (PAGE, "true")
        )
        self.assertEqual(answer["Access-Control-Expose-Headers"], "X-A, X-B")
        answer = self.ask("POST", CHAT, Origin="https://any.test")
        self.assertEqual(
            (answer["Access-Control-Allow-Origin"], answer["Access-Control-Allow-Credentials"]), ("*", None)
        )
        self.assertIsNone(answer["Access-Control-Expose-Headers"])

    def test_errors_can_be_read(self) -> None:
        """An allowed page learns why it got nothing."""
        self.configure(allowed_origins=(PAGE,), api_keys=["sk-1"])
        answer = self.ask("POST", CHAT, Origin=PAGE)
        self.assertEqual((answer.status, answer["Access-Control-Allow-Origin"]), (401, PAGE))

    def test_refusals_are_logged(self) -> None:
        """What a browser hides from its user stands in the log: once each, and not without end."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for number in range(2 * MOST_NOTED):
            for _ in range(2):
                self.ask("POST", CHAT, Origin=f"http://{number}.test")
        self.assertEqual(len(events), MOST_NOTED)
        events.clear()
        self.configure(api_keys=["sk-1"])
        self.assertEqual(self.ask("POST", CHAT).status, 401)
        self.assertEqual(events, [])
        self.assertEqual(self.ask("POST", CHAT, Origin=f"http://{'x' * 50_000}.test").status, 403)
        self.assertLess(len(str(events[0]["error"])), 1000)


class HostTests(GateTestCase):
    """Under which name a page knows us."""

    def test_loopback(self) -> None:
        """Listening for this machine only, we have no other name than its own."""
        for host in (
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "x.localhost",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
        ):
            self.assertEqual(self.ask("GET", "/health", Host=host).status, 200, host)
        for host in (
            "evil.test",
            "evil.test:8080",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "127.evil.test",
            "192.168.1.2",
            "[::2]",
            "localhost,evil.test",
        ):
            for path in ("/health", CHAT, "/logs"):
                self.assert_refused(self.ask("GET", path, Host=host), "allowedHosts")

    def test_no_host(self) -> None:
        """A client of HTTP/1.0 that names none is no browser."""
        self.client.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(self.client.answer().status, 200)

    def test_allowed(self) -> None:
        """Names can be added, with any port."""
        self.configure(allowed_hosts=("gpu.example", "[fd00::1]"))
        for host in ("gpu.example", "GPU.example:443", "[fd00::1]:8080", "localhost"):
            self.assertEqual(self.ask("GET", "/", Host=host).status, 200, host)
        self.assert_refused(self.ask("GET", "/", Host="x.gpu.example"), "allowedHosts")
        self.configure(allowed_hosts=("*",))
        self.assertEqual(self.ask("GET", "/", Host="evil.test").status, 200)

    def test_elsewhere(self) -> None:
        """Where others may come, or a proxy before us hands requests on, any name is served."""
        for address in (EVERYWHERE, UNIXAddress("/run/x.sock")):
            self.configure(address)
            self.assertEqual(self.ask("GET", "/", Host="gpu.example").status, 200)

    def test_moved(self) -> None:
        """Who came in where others may come is served as before when we move to loopback; who comes there is not."""
        site = site_of(Inner())
        site.gate.listens_at(EVERYWHERE)
        before = Client(site, host=IPv4Address("TCP", "192.168.1.2", 8080))
        site.gate.listens_at(LOOPBACK)
        for client, status in ((before, 200), (Client(site, host=LOOPBACK), 403)):
            client.ask("GET", "/", None, {"Host": "gpu.example"})
            self.assertEqual(client.answer().status, status)

    def test_rebinding(self) -> None:
        """A name that was bent to our address is not ours, though it is the page's own."""
        self.assert_refused(self.ask("POST", CHAT, Host="evil.test", Origin="http://evil.test"), "allowedHosts")


class PreflightTests(GateTestCase):
    """What browsers ask before they ask."""

    def preflight(self, fields: str | None = None, *, origin: str = PAGE, path: str = CHAT) -> Answer:
        """Ask whether a POST with these fields may be sent."""
        asked = {} if fields is None else {"Access-Control-Request-Headers": fields}
        return self.ask("OPTIONS", path, Origin=origin, **{**PREFLIGHT, **asked})

    def test_allowed(self) -> None:
        """Pages that may, learn what; no key is needed, which a browser could not send."""
        self.configure(allowed_origins=(PAGE,), api_keys=["sk-1"])
        for path in (CHAT, "/upstream/a/x", "/v1/nowhere"):
            answer = self.preflight("authorization, x-stainless-os", path=path)
            self.assertEqual(answer.status, 204)
            self.assertEqual(answer["Access-Control-Allow-Origin"], PAGE)
            self.assertEqual(answer["Access-Control-Allow-Methods"], "GET, POST, PUT, PATCH, DELETE, OPTIONS")
            self.assertEqual(answer["Access-Control-Allow-Headers"], "authorization, x-stainless-os")
            self.assertEqual(answer["Access-Control-Max-Age"], "86400")
            self.assertIsNone(answer["Access-Control-Allow-Credentials"])

    def test_configured(self) -> None:
        """What pages are told is as the configuration has it; a private network opens to those listed there only."""
        cors = CorsConfig(
            allowed_origins=(PAGE,),
            allow_private_network=True,
            allowed_methods=("GET", "POST"),
            allowed_headers=("X-A", "X-B"),
            max_age=60,
        )
        self.configure(security=SecurityConfig(cors=cors))
        outside = {**PREFLIGHT, "Access-Control-Request-Private-Network": "true"}
        answer = self.ask("OPTIONS", "/api/models/unload", Origin=PAGE, **outside)
        told = [
            answer[f"Access-Control-{name}"] for name in ("Allow-Origin", "Allow-Methods", "Allow-Headers", "Max-Age")
        ]
        self.assertEqual(told, [PAGE, "GET, POST", "X-A, X-B", "60"])
        self.assertEqual(answer["Access-Control-Allow-Private-Network"], "true")
        self.assertIsNone(self.preflight()["Access-Control-Allow-Private-Network"])
        answer = self.ask("OPTIONS", CHAT, Origin="http://localhost:3000", **outside)
        self.assertEqual((answer.status, answer["Access-Control-Allow-Private-Network"]), (204, None))
        self.configure(security=SecurityConfig(cors=CorsConfig(allowed_origins=(PAGE,))))  # this must be asked for
        self.assertIsNone(self.ask("OPTIONS", CHAT, Origin=PAGE, **outside)["Access-Control-Allow-Private-Network"])

    def test_odd_fields(self) -> None:
        """Names that are none are dropped; where none is left, the usual ones are allowed."""
        usual = "Content-Type, Authorization, Accept, X-Requested-With"
        for asked, allowed in (
            (None, usual),
            ("", usual),
            (" , ,", usual),
            ("a b", usual),
            ("x-ok,bad name,x:y,(z),caf\xe9,<script>,x-fine", "x-ok, x-fine"),
            ("X-A , x-b", "X-A, x-b"),
        ):
            answer = self.preflight(asked, origin="http://localhost:3000")
            self.assertEqual((answer.status, answer["Access-Control-Allow-Headers"]), (204, allowed), asked)

    def test_fields_in_several_lines(self) -> None:
        """They may stand in one line or in many."""
        lines = "".join(f"Access-Control-Request-Headers: {name}\r\n" for name in ("x-a", "x-b, x-c"))
        self.client.send(f"OPTIONS {CHAT} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        self.assertEqual(self.client.answer()["Access-Control-Allow-Headers"], "x-a, x-b, x-c")

    def test_others(self) -> None:
        """Other pages get no permission, nor do any where only our own may read."""
        self.assertIsNone(self.preflight()["Access-Control-Allow-Origin"])
        self.configure(allowed_origins=("*",))
        answer = self.preflight(path="/api/models/unload")
        self.assertEqual((answer.status, answer["Access-Control-Allow-Origin"]), (204, None))

    def test_silence_is_logged(self) -> None:
        """Of a request that is never sent, the log says which setting would allow it; of those allowed, nothing."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for _ in range(2):
            self.preflight()
        self.preflight(origin="http://localhost:3000")
        self.preflight(origin="http://localhost:3000", path="/api/models/unload")
        self.ask("OPTIONS", CHAT, **PREFLIGHT)
        self.ask("OPTIONS", "/running", Origin="http://localhost:3000")  # a page that asks this itself is answered
        wishes = [str(event["error"]).partition("; if you trust it, add its origin to ") for event in events]
        self.assertEqual(
            [(wish, remedy) for wish, _, remedy in wishes],
            [
                (f"a page of '{PAGE}' would like to use '{CHAT}'", "allowedOrigins in the configuration"),
                (
                    "a page of 'http://localhost:3000' would like to use '/api/models/unload'",
                    "security.cors.allowedOrigins in the configuration",
                ),
            ],
        )

    def test_other_options(self) -> None:
        """Whoever asks us without being a browser is told the same; to a model it is a request like any other."""
        for path in (CHAT, "/running", "/nowhere"):
            answer = self.ask("OPTIONS", path)
            self.assertEqual((answer.status, answer["Access-Control-Allow-Origin"]), (204, None))
            self.assertIn("POST", answer["Access-Control-Allow-Methods"] or "")
        for path in ("/upstream/a/", "/comfyui/x"):
            self.assertEqual(self.ask("OPTIONS", path).body, b"in")
        self.configure(api_keys=["sk-1"])
        self.assertEqual(self.ask("OPTIONS", CHAT).status, 401)


class RelayedTests(SynchronousTestCase):
    """What models answer to pages."""

    def answer(self, fields: bytes, **headers: str) -> Answer:
        """Return what a client gets whose model's answer has these fields."""
        router, endpoints = FakeRouter(Config(models=models("a"))), Endpoints()
        routes = InferenceRoutes(Forwarder(router, endpoints, unwatched()), Inline())
        client = Client(site_of(Front(app_with(routes.add_to), routes.direct()), allowed_origins=(PAGE,)))
        client.ask("POST", CHAT, b'{"model": "a"}', headers)
        router.grant()
        wire = endpoints.upstream.accept()
        wire.deliver(b"HTTP/1.1 200 OK\r\n" + fields + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        answer = client.answer()
        self.assertEqual(answer.body, b"ab")
        return answer

    def test_allowed(self) -> None:
        """A page that may read answers may read those of models, streams included."""
        for kind in (b"application/json", b"text/event-stream"):
            fields = self.answer(b"Content-Type: " + kind + b"\r\n", Origin=PAGE).fields
            self.assertIn(("Access-Control-Allow-Origin", PAGE), fields)
            self.assertIn(("Vary", "Origin"), fields)

    def test_only_one_speaks(self) -> None:
        """What the model's server says about pages does not count, and shares no credentials."""
        own = (
            b"access-control-allow-origin: *\r\nX-Kept: 1\r\nAccess-Control-Allow-Credentials: true\r\nVary: Accept\r\n"
        )
        fields = self.answer(own, Origin=PAGE).fields
        self.assertEqual([text for name, text in fields if name.lower() == "access-control-allow-origin"], [PAGE])
        self.assertNotIn("credentials", str(fields).lower())
        self.assertIn(("X-Kept", "1"), fields)
        self.assertIn(("Vary", "Accept"), fields)

    def test_no_page(self) -> None:
        """Where no page is behind the request, the answer passes as it is."""
        fields = self.answer(b"Access-Control-Allow-Origin: *\r\nX-Kept: 1\r\n").fields
        self.assertEqual(
            fields, [("Access-Control-Allow-Origin", "*"), ("X-Kept", "1"), ("Transfer-Encoding", "chunked")]
        )
