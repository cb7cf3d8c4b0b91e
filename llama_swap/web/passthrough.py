"""`/upstream/MODEL/…` and `/comfyui/…`: a model's own server, with the rest of the request target unchanged.

An upstream must see `%2F` and `//` as the client wrote them.  Klein decodes and normalises paths, so it gets
placeholders for these subtrees, and the target is split here.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from attrs import evolve
from klein import Klein
from twisted.web.resource import IResource

from llama_swap.config.model import COMFYUI_MODEL
from llama_swap.errors import NotFound, Unavailable
from llama_swap.relay.tunnel import wanted_protocol
from llama_swap.routing.names import LONGEST_NAME, Names
from llama_swap.routing.peers import PeerModel
from llama_swap.scheduling.commands import Target
from llama_swap.server.request import SwapRequest, body_of
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.paths import names_model_in_body

PREFIX = b"/upstream/"
PLACEHOLDER = "/upstream/-"
COMFYUI = b"/comfyui"
COMFYUI_PLACEHOLDER = "/comfyui/-"
COMFYUI_PAGE = Target(COMFYUI_MODEL)
COMFYUI_REST = evolve(COMFYUI_PAGE, if_cold=f"model {COMFYUI_MODEL} is not loaded; only /comfyui/ itself can start it")
MOST_SEGMENTS = 64
"""The most segments of a path that may belong to a model's name."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def split_target(uri: bytes, names: Names) -> tuple[Target | PeerModel, bytes]:
    """Split the raw target `/upstream/MODEL/REST?QUERY` into the model and `/REST?QUERY`.

    Names may contain slashes, plain or as `%2F`: the longest one that exists wins.  Where no path follows the name,
    the rest is empty or begins with the query.

    @raise NotFound: no name matches.
    @raise Unavailable: it is not known yet where the name ends, because a peer has not said which models it has.
    """
    path, question, query = uri.removeprefix(PREFIX).partition(b"?")
    shown = path.rstrip(b"/").decode("ascii", "backslashreplace")
    reason = f"model not found: there is no {shown!r} here; GET /upstream lists what there is"
    segments = path.split(b"/", MOST_SEGMENTS)
    for count in range(min(len(segments), MOST_SEGMENTS), 0, -1):
        spelled = b"/".join(segments[:count])
        if len(spelled) > LONGEST_NAME:
            continue
        name = unquote_to_bytes(spelled).decode(errors="replace")
        try:
            target = names.find(names.pinned(name))
        except NotFound as error:  # a profile, and so far no member of it; or a name that the active profile refuses
            reason = str(error)
            continue
        if target is not None:
            rest = b"".join(b"/" + segment for segment in segments[count:])
            return target, rest + question + query
    if (peer := names.peers.silent(unquote_to_bytes(path).decode(errors="replace"))) is not None:
        raise Unavailable(
            f"peer {peer} has not said yet what it has, so where the name of its model ends is not known: "
            "see whether it runs, or set `models` of that peer in the configuration"
        )
    raise NotFound(reason)


def placeholder(uri: bytes) -> str | None:
    """Return the path that Klein gets instead of the raw target `uri`; None if it may read that itself."""
    if uri.startswith(PREFIX):
        return PLACEHOLDER
    return COMFYUI_PLACEHOLDER if uri.startswith(COMFYUI) and uri[len(COMFYUI) :][:1] in (b"", b"/", b"?") else None


class PassThrough:
    """Relays everything below `/upstream/` and `/comfyui/`."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def add_to(self, app: Klein) -> None:
        """Register the routes of the placeholders, which `Front` uses."""
        app.route(PLACEHOLDER, methods=METHODS)(self.pass_on)
        app.route(COMFYUI_PLACEHOLDER, methods=METHODS)(self.pass_on_to_comfyui)

    def pass_on(self, request: SwapRequest) -> IResource | bytes:
        """Return the resource that relays the request, or redirect to the model's root, where relative links work."""
        target, rest = split_target(request.uri, self._forwarder.names)
        if not rest.startswith(b"/"):
            return _lead_to_root(request)
        path = rest.partition(b"?")[0].decode("latin-1")
        if isinstance(target, Target) and self._forwarder.router.config.upstream.ignores(path):
            target = evolve(target, if_cold=f"model {target.model} is not loaded; path matches upstream.ignorePaths")
        return self._forward(request, target, rest)

    def pass_on_to_comfyui(self, request: SwapRequest) -> IResource | bytes:
        """Return the resource that relays the request to ComfyUI; only a request for its first page may start it."""
        if COMFYUI_MODEL not in self._forwarder.names.config.models:
            raise NotFound(f"there is no model {COMFYUI_MODEL}, which would be served here")
        rest = request.uri.removeprefix(COMFYUI)
        if not rest.startswith(b"/"):
            return _lead_to_root(request)
        is_first_page = rest.partition(b"?")[0] == b"/"
        return self._forward(request, COMFYUI_PAGE if is_first_page else COMFYUI_REST, rest)

    def _forward(self, request: SwapRequest, target: Target | PeerModel, rest: bytes) -> IResource:
        head = request.head
        upgrade = wanted_protocol(head.fields) if head.version == b"HTTP/1.1" else None
        metered = names_model_in_body(request.method, rest)
        return self._forwarder.forward(request, target, rest, body_of(request), upgrade=upgrade, metered=metered)


def _lead_to_root(request: SwapRequest) -> bytes:
    path, question, query = request.uri.partition(b"?")
    request.setResponseCode(301 if request.method in (b"GET", b"HEAD") else 308)
    request.setHeader(b"Location", path + b"/" + question + query)
    return b""
