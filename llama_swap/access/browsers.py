"""What pages of other sites may do here, through the browser of whoever visits them (CSRF, CORS, DNS rebinding).

A browser reaches this machine and this network.  So any page on the web could use, start and stop the models of those
who visit it.  But browsers tell which site's page is behind a request (`Origin`, RFC 6454, and `Sec-Fetch-Site`,
https://www.w3.org/TR/fetch-metadata/), and the name by which the page knows us (`Host`), which is not one of ours where
a foreign name was made to resolve to our address (DNS rebinding).  Other clients are not affected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from twisted.web.http import Request

from llama_swap.config.sections import CorsConfig
from llama_swap.errors import Forbidden
from llama_swap.http.headers import Fields
from llama_swap.http.syntax import TOKEN, host_named, origin_named
from llama_swap.listening.address import is_loopback
from llama_swap.net.loopback import is_loopback_to_browsers
from llama_swap.server.heads import RequestHead
from llama_swap.server.request import SwapRequest

USUAL_FIELDS = b"Content-Type, Authorization, Accept, X-Requested-With"

_HARMLESS = frozenset(b"api favicon.ico health log logs metrics models running ui wol-health".split())
"""First segments of the paths at which a GET only shows something."""
_SHARED = frozenset(b"audioapi comfyui completion infill models props rerank reranking sdapi upstream v v1".split())
"""First segments of the paths of models and their answers: `allowedOrigins` may read these, and nothing else."""
_TOKEN = re.compile(TOKEN.encode())


class BrowserRules:
    """Finds out which requests a foreign page is behind.

    `origins`, `hosts` and `cors` are as in the configuration; `*` stands for all.  Pages of the origins in `cors` may
    read everything, others only what is about models.  `is_loopback` says that we listen on the loopback device only;
    then `Host` must be a name of this machine or one of `hosts`, except on connections made before that was so.
    """

    def __init__(self, origins: Iterable[str], hosts: Iterable[str], cors: CorsConfig, *, is_loopback: bool) -> None:
        self._cors = cors
        self._readers = frozenset(origin.encode() for origin in cors.allowed_origins)
        self._origins = self._readers | {origin.encode() for origin in origins}
        self._hosts = frozenset(hosts)
        self._opens_all = b"*" in self._origins
        self._checks_host = is_loopback and "*" not in self._hosts
        self._harmless: RequestHead | None = None  # the last head of that kind; identical ones are one object

    def check(self, request: SwapRequest) -> Fields:
        """Return the CORS fields for the answer, if a page may read it.

        @raise Forbidden: a foreign page is behind the request, and could do harm with it.
        """
        head = request.head
        if head is self._harmless:
            return ()
        value = head.value
        host = value(b"host")
        stranger = None if not self._checks_host or host is None or self._is_ours(_name(host)) else host
        # Otherwise the connection is from before a reload changed `listen`.
        if stranger is not None and is_loopback(request.getHost()):
            raise Forbidden(
                f"llama-swap listens for this machine only, and does not know itself as {_shown(stranger)}; if that is "
                "right, add the name to allowedHosts in the configuration"
            )
        origin = value(b"origin")
        if origin is not None:
            if self._is_allowed(origin, host):
                return self._shares(request.path, origin)
            whose = f"a page of {_shown(origin)}"
        elif value(b"sec-fetch-site") == b"cross-site" and not self._opens_all:
            whose = "a page of another site"
        else:
            if stranger is None:
                self._harmless = head
            return ()
        if _may_do_harm(request.method, request.path) and not is_preflight(request):
            raise Forbidden(
                f"{whose} is behind this request, and such pages may not start, stop or change anything; if you trust "
                "it, add its origin to allowedOrigins in the configuration"
            )
        return ()

    def why_unanswered(self, request: SwapRequest) -> Forbidden | None:
        """Return why a preflight gets no permission, for the log; None if it is no preflight.

        Nothing else would tell: the browser does not send the request itself, and its own message gives no reason.
        """
        origin = request.head.value(b"origin")
        if origin is None or not is_preflight(request):
            return None
        setting = "allowedOrigins" if _first_segment(request.path) in _SHARED else "security.cors.allowedOrigins"
        return Forbidden(
            f"a page of {_shown(origin)} would like to use {_shown(request.path)}; if you trust it, add its origin to "
            f"{setting} in the configuration"
        )

    def _is_ours(self, name: str) -> bool:
        return _is_loopback(name) or name in self._hosts

    def _is_allowed(self, origin: bytes, host: bytes | None) -> bool:
        origin = origin.lower()
        if self._opens_all or origin in self._origins:
            return True
        page = origin_named(origin.decode("latin-1"))
        return page is not None and (_is_loopback(page.host) or page.host == _name(host or b""))

    def _shares(self, path: bytes, origin: bytes) -> Fields:
        reads_all = self._reads_all(origin)
        if not reads_all and _first_segment(path) not in _SHARED:
            return ()
        trusted = reads_all and self._cors.allow_credentials
        fields = [(b"Access-Control-Allow-Origin", origin if trusted or not self._opens_all else b"*")]
        fields.append((b"Vary", b"Origin"))
        if trusted:
            fields.append((b"Access-Control-Allow-Credentials", b"true"))
        if reads_all and self._cors.exposed_headers:
            fields.append((b"Access-Control-Expose-Headers", _listed(self._cors.exposed_headers)))
        return tuple(fields)

    def _reads_all(self, origin: bytes) -> bool:
        return origin.lower() in self._readers or b"*" in self._readers

    def answer_preflight(self, request: Request) -> None:
        """Answer a preflight; unless `Access-Control-Allow-Origin` is set as well, browsers ignore these fields."""
        value = request.requestHeaders.getRawHeaders
        asked = b",".join(value(b"Access-Control-Request-Headers", ()))
        names = [name.strip() for name in asked.split(b",")]
        fields = _listed(self._cors.allowed_headers) or b", ".join(name for name in names if _TOKEN.fullmatch(name))
        request.setResponseCode(204)
        request.setHeader(b"Access-Control-Allow-Methods", _listed(self._cors.allowed_methods))
        request.setHeader(b"Access-Control-Allow-Headers", fields or USUAL_FIELDS)
        request.setHeader(b"Access-Control-Max-Age", b"%d" % self._cors.max_age)
        if value(b"Access-Control-Request-Private-Network") and self._may_come_from_outside(value(b"Origin", ())):
            request.setHeader(b"Access-Control-Allow-Private-Network", b"true")
        request.finish()

    def _may_come_from_outside(self, origins: Sequence[bytes]) -> bool:
        return self._cors.allow_private_network and len(origins) == 1 and self._reads_all(origins[0])


def is_preflight(request: SwapRequest) -> bool:
    """Whether this is a preflight: https://fetch.spec.whatwg.org/#cors-preflight-request ."""
    if request.method != b"OPTIONS":
        return False
    headers = request.requestHeaders
    return headers.hasHeader(b"Access-Control-Request-Method") or headers.hasHeader(b"Access-Control-Request-Headers")


def asks_what_is_allowed(request: SwapRequest) -> bool:
    """Whether an OPTIONS request (RFC 9110 §9.3.7) is one that the proxy answers, rather than a model's server."""
    return is_preflight(request) or _first_segment(request.path) not in (b"upstream", b"comfyui")


def _listed(words: Iterable[str]) -> bytes:
    return ", ".join(words).encode()


def _may_do_harm(method: bytes, path: bytes) -> bool:
    """Whether a request may start, stop or change something; true unless it is known that it does not."""
    if method not in (b"GET", b"HEAD"):
        return True
    shows = path in (b"/", b"/upstream", b"/v1/models") or path.startswith(b"/v1/models/")
    return not shows and _first_segment(path) not in _HARMLESS


def _first_segment(path: bytes) -> bytes:
    """Return the first segment as routes see it, which see one slash where there are several at the beginning."""
    return path.lstrip(b"/").partition(b"/")[0]


@lru_cache(maxsize=32)  # most requests have the same
def _name(authority: bytes) -> str:
    """Return the host of `authority`, or the empty string if it is not valid."""
    return host_named(authority.decode("latin-1")) or ""


_is_loopback = lru_cache(maxsize=32)(is_loopback_to_browsers)


def _shown(value: bytes) -> str:
    return ascii(value[:100].decode("latin-1"))
