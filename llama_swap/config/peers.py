"""Reads `peers`: other servers, whose models can be asked for here."""

from __future__ import annotations

from typing import Final

from llama_swap.config.access import Secret
from llama_swap.config.fields import Key, read_keys
from llama_swap.config.filters import read_filters
from llama_swap.config.keys import timeouts
from llama_swap.config.kinds import Section, Text
from llama_swap.config.macros import Scope
from llama_swap.config.model import Peer
from llama_swap.config.names import NameList, named_settings, read_names
from llama_swap.config.ports import base_url
from llama_swap.config.tree import Findings, MapNode, Node, Scalar

NOWHERE: Final = "http://tailcat.invalid"
"""A host that never exists: `.invalid` is reserved (RFC 6761)."""
PEER: Final = (
    Key("proxy", Text(None), "The URL of the other server."),
    Key("models", Section(NameList().schema()), "Its models; without them, it is asked what it has."),
    Key("apiKey", Secret(), "The key that the other server wants."),
    Key("filters", Section({"type": ["object", "null"]}), "What is taken out of requests, and put in."),
    Key("timeouts", timeouts(response_header=60.0), "How long the other server may take."),
)


def read_peers(section: Node | None, scope: Scope) -> dict[str, Peer]:
    """Return the peers by name."""
    return {name: _peer(node, scope) for name, node in named_settings(section, "peer", "`proxy`", scope.found)}


def _proxy(url: str, node: MapNode, found: Findings) -> str:
    written = node.entries.get("proxy")
    if written is None or written.is_null:
        found.error(written or node, "has no `proxy`; write the URL of the other server")
        return url
    if not isinstance(written, Scalar) or not found.knows(written.text):
        return url  # which is reported already
    if url.lower().startswith("tailcat://"):
        found.warn(
            written, "Tailcat is not spoken here: requests for this peer's models get 502; write an http:// address"
        )
        return NOWHERE
    try:
        return base_url(url)
    except ValueError as error:
        found.error(written, str(error))
        return url


def _peer(node: MapNode, scope: Scope) -> Peer:
    found = scope.found
    values = read_keys(node, PEER, scope.expand, found)
    values["proxy"] = _proxy((values["proxy"] or "").strip(), node, found)
    models = values["models"]
    if models is not None:
        values["models"] = tuple(dict.fromkeys(item.text for item in read_names(scope.expand(models), found)))
        if models.is_empty:
            found.error(models, "names no model; leave it out if the peer is to be asked for them")
    values["filters"] = read_filters(values["filters"], scope)
    return Peer(**values)
