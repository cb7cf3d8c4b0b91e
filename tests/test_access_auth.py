"""API keys: who is let in, and that a key gets no further."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource

from llama_swap.server.request import REFUSED_BODY, SwapRequest
from tests.fakes_web import site_of
from tests.fakes_wire import Client

KEYS = ("sk-one", "zwei:drei", "schlüssel")


class Seen(Resource):
    """Answers every request that gets so far, and keeps its headers."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[dict[bytes, Any]] = []

    def render(self, request: Request) -> bytes:
        """See `IResource.render`."""
        assert isinstance(request, SwapRequest)
        self.head = request.head
        self.headers.append(dict(request.requestHeaders.getAllRawHeaders()))
        return b"in"


def basic(text: str) -> str:
    """Return Basic credentials, in UTF-8."""
    return "Basic " + b64encode(text.encode()).decode()


class ApiKeyTests(SynchronousTestCase):
    """A gate with keys, and a client in front of it."""

    def setUp(self) -> None:
        """Make both."""
        self.seen = Seen()
        self.site = site_of(self.seen, max_body=200_000, api_keys=KEYS)
        self.client = Client(self.site)

    def status(self, *, path: str = "/running", method: str = "GET", **headers: str) -> int:
        """Return the status that a request with these headers gets."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.client.ask(method, path, None, named)
        return self.client.answer(method).status

    def test_any_key_in_any_way(self) -> None:
        """Each key works, as a Bearer token, in `x-api-key`, or as the password of anybody."""
        for key in KEYS:
            sent = key.encode().decode("latin-1")  # as the bytes of the key
            self.assertEqual(self.status(Authorization=f"Bearer {sent}"), 200, key)
            self.assertEqual(self.status(authorization=f"bearer  {sent} "), 200, key)
            self.assertEqual(self.status(x_api_key=sent), 200, key)
            for user in ("", "me"):
                self.assertEqual(self.status(Authorization=basic(f"{user}:{key}")), 200, key)

    def test_wrong_or_missing(self) -> None:
        """Whatever else is sent is 401, be it no text, no base64, or nearly right."""
        for headers in (
            {},
            {"Authorization": ""},
            {"Authorization": "sk-one"},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer sk-on"},
            {"Authorization": "Bearer sk-one2"},
            {"Authorization": "Bearer SK-ONE"},
            {"Authorization": "Bearer sk-one, sk-one"},
            {"Authorization": "Digest sk-one"},
            {"Authorization": "Basic sk-one"},
            {"Authorization": "Basic \xff"},
            {"Authorization": basic(":sk-one") + "!"},
            {"Authorization": basic("sk-one")},
            {"Authorization": basic("sk-one:")},
            {"Authorization": basic("sk-one:x")},
            {"Authorization": "Bearer \xff\xfe"},
            {"x-api-key": "\xff"},
            {"x-api-key": "schl\xfcssel"},
            {"x-api-key": ""},
            {"api-key": "sk-one"},
            {"Cookie": "key=sk-one"},
            {"Proxy-Authorization": "Bearer sk-one"},
        ):
            self.client.ask("GET", "/running?key=sk-one", None, headers)
            answer = self.client.answer()
            self.assertEqual((answer.status, answer["WWW-Authenticate"]), (401, 'Basic realm="llama-swap"'), headers)
            error = json.loads(answer.body)["error"]
            self.assertEqual((error["type"], error["code"]), ("authentication_error", "unauthorized"))
        self.assertEqual(self.seen.headers, [])

    def test_first_header_decides(self) -> None:
        """Of several, Basic counts before Bearer, and Bearer before `x-api-key`; an empty one does not count."""
        good, bad = "sk-one", "nonsense"
        for headers, status in (
            ([("Authorization", basic(f":{good}")), ("Authorization", f"Bearer {bad}"), ("x-api-key", bad)], 200),
            ([("Authorization", f"Bearer {bad}"), ("Authorization", basic(f":{good}")), ("x-api-key", bad)], 200),
            ([("Authorization", f"Bearer {good}"), ("Authorization", basic(f":{bad}")), ("x-api-key", good)], 401),
            ([("Authorization", f"Bearer {good}"), ("x-api-key", bad)], 200),
            ([("Authorization", f"Bearer {bad}"), ("x-api-key", good)], 401),
            ([("Authorization", "Bearer "), ("x-api-key", good)], 200),
            ([("Authorization", basic(":")), ("x-api-key", good)], 200),
            ([("Authorization", "Basic ?"), ("x-api-key", good)], 200),
            ([("x-api-key", bad), ("x-api-key", good)], 401),
        ):
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            self.client.send(f"GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
            self.assertEqual(self.client.answer().status, status, headers)

    def test_keys_are_taken_off(self) -> None:
        """Every field that holds a key is gone behind the gate; other people's keys are not."""
        foreign = {b"Api-Key": [b"sk-azure"], b"Cookie": [b"a=b"]}
        for headers, left in (
            ({"Authorization": "Bearer sk-one", "X-Api-Key": "sk-one"}, {}),
            ({"Authorization": basic("me:sk-one"), "X-Api-Key": "sk-anthropic"}, {b"X-Api-Key": [b"sk-anthropic"]}),
            ({"X-Api-Key": "sk-one", "Authorization": "Digest x"}, {b"Authorization": [b"Digest x"]}),
            ({"X-Api-Key": "sk-one", "Api-Key": "zwei:drei"}, {}),
            ({"X-Api-Key": "sk-one", "Api-Key": "sk-azure", "Cookie": "a=b"}, foreign),
        ):
            self.assertEqual(self.status(**{name.replace("-", "_"): value for name, value in headers.items()}), 200)
            self.assertEqual(self.seen.headers.pop(), {b"Host": [b"proxy.test"], **left})
            for name in (b"Host", b"Authorization", b"X-Api-Key"):  # a single field that is asked for is the same
                values = {b"Host": [b"proxy.test"], **left}.get(name, [None])
                self.assertEqual(self.seen.head.value(name.lower()), values[0])

    def test_open_paths(self) -> None:
        """Three paths need no key, with any query, if they are spelled exactly so."""
        for name in ("/health", "/wol-health", "/favicon.ico"):
            for method in ("GET", "HEAD"):
                self.assertEqual(self.status(path=f"{name}?x", method=method), 200)
            for other in (f"/{name}", f"{name}/", f"{name}%20", f"{name}/../running", f"{name};x", name.upper()):
                self.assertEqual(self.status(path=other), 401, other)

    def test_large_bodies(self) -> None:
        """Strangers are not asked for a large body, and are refused as soon as it shows; others may send it."""
        for length in (REFUSED_BODY, REFUSED_BODY + 1):
            head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length
            self.client.send(head)
            self.assertEqual(bool(self.client.wire.written), length > REFUSED_BODY)
            if not self.client.wire.written:
                self.client.send(b"x" * length)
            answer = self.client.answer()
            self.assertEqual((answer.status, answer["WWW-Authenticate"]), (401, 'Basic realm="llama-swap"'))
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        self.client = Client(self.site)
        self.client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + 2 * chunk)
        self.assertEqual(self.client.wire.written, b"")
        self.client.send(chunk)
        self.assertEqual(self.client.answer().status, 401)
        self.client = Client(self.site)
        self.client.ask("POST", "/", b"x" * 200_000, {"x-api-key": "sk-one"})
        self.assertEqual(self.client.answer().status, 200)

    def test_no_keys(self) -> None:
        """Without keys everybody may come in, and credentials are passed on as they are."""
        self.client = Client(site_of(self.seen))
        self.assertEqual(self.status(Authorization="Bearer sk-one"), 200)
        self.assertEqual(self.seen.headers[0][b"Authorization"], [b"Bearer sk-one"])
