"""Turns the `models` section into `ModelConfig` values.

Two passes, because ports are assigned in between: the first finds the models that use `${PORT}` and the ports that are
fixed, the second reads every key with the ports known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from llama_swap.config.command import port_option, read_command, split, warn_misspelt_port, without_comments
from llama_swap.config.fields import meant, read_keys
from llama_swap.config.filters import read_filters
from llama_swap.config.keys import AT_TOP, MODEL
from llama_swap.config.macros import Scope
from llama_swap.config.model import COMFYUI_MODEL, PID, Compat, ModelConfig
from llama_swap.config.names import is_name
from llama_swap.config.ports import MOST, address_of, assign_ports, base_url, port_of
from llama_swap.config.tree import Findings, ListNode, MapNode, Node, Scalar
from llama_swap.net.loopback import leads_to_this_machine

COMFYUI_REQUESTS: Final = 999
"""The lowest `concurrencyLimit` at which the pages of ComfyUI work."""
_PORT = "${PORT}"
_KEYS: Final = frozenset(key.name for key in MODEL)


@frozen
class _Draft:
    """A model before ports are known: its texts still contain `${PORT}`."""

    id: str
    node: MapNode
    scope: Scope
    """With the model's macros, but without a port."""
    written: Scalar | None
    """`cmd` as written in the file; None if it is absent or not text."""
    cmd: str
    proxy: Scalar | None
    wants_port: bool

    @property
    def fixed_port(self) -> int | None:
        """The port that the file fixes for the model's server, so that `${PORT}` must not take it."""
        if self.proxy is not None:
            return port_of(self.proxy.text)
        try:
            return None if self.wants_port else port_option(split(self.cmd))
        except ValueError:
            return None


def indented(section: MapNode, found: Findings) -> MapNode:
    """Return the section with keys that are not indented enough moved into the model above; each is an error."""
    entries: dict[str, Node] = {}
    for name, node in section.entries.items():
        above = next(reversed(entries), None)
        if not _is_key(name, node):
            entries[name] = node
        elif above is None:
            found.error(node, "is a key of a model; write the model's name above it, and indent it")
        else:
            found.error(node, f"looks like a key of the model above; indent it, so that it belongs to {above!r}")
            entries[above] = _with(entries[above], name, node)
    return MapNode(section.line, section.parent, section.key, entries)


def _is_key(name: str, node: Node) -> bool:
    """Whether an entry of `models` is not a model, but a key that belongs in one."""
    is_model = isinstance(node, MapNode) and not {"cmd", "proxy"}.isdisjoint(node.entries)
    return name in _KEYS and not node.is_null and not is_model


def _with(model: Node, name: str, node: Node) -> Node:
    if not isinstance(model, MapNode) and not model.is_null:
        return model
    entries = model.entries if isinstance(model, MapNode) else {}
    return MapNode(model.line, model.parent, model.key, {name: node, **entries})


def read_models(
    section: MapNode, top: Mapping[str, Any], scope: Scope, ports: Mapping[str, int]
) -> dict[str, ModelConfig]:
    """Return the models by id; problems go to the findings of `scope`.

    `top` has the values of the top-level keys, which models fall back to; `ports` the former `${PORT}` of each id.
    """
    drafts = [draft for name, node in section.entries.items() if (draft := _draft(name, node, scope)) is not None]
    taken = {port for draft in drafts if (port := draft.fixed_port)}
    given = assign_ports((draft.id for draft in drafts if draft.wants_port), top["start_port"], taken, ports)
    return {draft.id: _finished(draft, given.get(draft.id), top) for draft in drafts}


def read_aliases(section: MapNode, models: Mapping[str, ModelConfig], found: Findings) -> dict[str, str]:
    """Return the id for every id and alias; a name with two meanings is an error."""
    ids = {name: name for name, node in section.entries.items() if not node.is_null}
    owners = dict(ids)
    for model in models.values():
        node = section.entries[model.id]
        listed = node.entries.get("aliases") if isinstance(node, MapNode) else None
        items = listed.items if isinstance(listed, ListNode) else []
        places = [item for item in items if isinstance(item, Scalar) and is_name(item.text)]
        others = [node] * (len(model.aliases) - len(places))  # those of setParamsByID
        for alias, at in zip(model.aliases, [*places, *others], strict=False):
            if alias == model.id:
                found.warn(at, "is the model's own name, which needs no alias")
            elif alias in ids and at is node:
                found.error(at, f"the alias {alias!r} is the name of another model")
            elif alias in ids:
                found.warn(at, f"{alias!r} is the name of another model, which it goes on to mean")
            elif alias in owners:
                found.error(at, f"duplicate alias: {alias!r} already names the model {owners[alias]!r}")
            owners.setdefault(alias, model.id)
    return owners


def _draft(name: str, node: Node, scope: Scope) -> _Draft | None:
    if not is_name(name):
        scope.found.error(node, "a model's name must not be empty or hold line breaks or other control characters")
        return None
    if node.is_null:
        scope.found.warn(node, "says nothing, and is left out; write its `cmd`")
        return None
    if not isinstance(node, MapNode):
        scope.found.error(node, f"must be a mapping with at least `cmd`, not {node.summary}")
        return None
    scope = scope.giving(MODEL_ID=name).defining(node.entries.get("macros"))
    waiting = scope.giving(PORT=_PORT)
    written, proxy = _text(node, "cmd", scope.found), _text(node, "proxy", scope.found)
    cmd = ""
    if written is not None and not written.is_null:
        cmd = waiting.text(written.saying(without_comments(written.text), plain=False)).text
    if proxy is not None:
        proxy = waiting.text(proxy)
        proxy = proxy if proxy.text and not proxy.is_null else None
    wants_port = _PORT in cmd or _names_port(node.entries.get("env"), waiting)
    return _Draft(name, node, scope, written, cmd, proxy, wants_port)


def _text(node: MapNode, key: str, found: Findings) -> Scalar | None:
    value = node.entries.get(key)
    if value is None or isinstance(value, Scalar):
        return value
    found.error(value, f"must be text, in one line or as a block with `|`, not {value.summary}")
    return None


def _names_port(env: Node | None, scope: Scope) -> bool:
    """Whether the server gets its port from an environment variable, such as LLAMA_ARG_PORT."""
    scope, items = scope.leaving_unknown(), env.items if isinstance(env, ListNode) else []
    return any(_PORT in scope.text(item).text for item in items if isinstance(item, Scalar))


def _finished(draft: _Draft, port: int | None, top: Mapping[str, Any]) -> ModelConfig:
    """Return the model; after an error it only serves to find further errors."""
    found = draft.scope.found
    scope = draft.scope if port is None else draft.scope.giving(PORT=str(port))
    env = draft.node.entries.get("env")  # here ${NAME} is often meant for a shell, although none runs
    values = read_keys(
        draft.node, MODEL, lambda node: (scope.leaving_unknown() if node is env else scope).expand(node), found, AT_TOP
    )
    del values["macros"]
    if draft.wants_port and port is None:
        found.error(draft.node, f"no port is left for it between startPort, {top['start_port']}, and {MOST}")
    cmd = _command(draft, port)
    values["cmd"], values["proxy"] = cmd, _proxy(draft, port, cmd)
    values["cmd_stop"] = _stop_command(draft, scope.giving(PID=PID))
    values["filters"] = filters = read_filters(values["filters"], scope)
    if filters is not None:  # the names in setParamsByID become aliases
        others = (name for name in filters.set_params_by_id if name != draft.id)
        values["aliases"] = tuple(dict.fromkeys((*values["aliases"], *others)))
    if values["send_loading_state"] is None:
        values["send_loading_state"] = top["send_loading_state"]
    values["ttl"] = top["global_ttl"] if values["ttl"] < 0 else values["ttl"]
    values["unload_timeout"] = values["unload_timeout"] or top["unload_timeout"]
    if draft.id == COMFYUI_MODEL:  # each open page sends many requests at a time, and keeps a WebSocket open
        values["concurrency_limit"] = max(values["concurrency_limit"], COMFYUI_REQUESTS)
        values["compat"] = Compat(ignore_websockets=True)
    return ModelConfig(id=draft.id, port=port, **values)


def _command(draft: _Draft, port: int | None) -> tuple[str, ...]:
    """Return the argument vector; () if there is none, which is an error unless the model has a `proxy`."""
    found, written = draft.scope.found, draft.written
    if written is not None and draft.cmd.strip():
        return read_command(written, draft.cmd.replace(_PORT, str(port)), found)
    if written is not None and written.text.lstrip().startswith("#") and "\n" not in written.text.strip():
        message = "is a comment from beginning to end; write the command without the #, a block with `|`, not `>`"
    elif written is not None:
        message = "is empty; write what starts the model's server"
    elif "cmd" in draft.node.entries:
        return ()  # it is not text, which `_text` has reported
    elif alike := next((key for key in draft.node.entries if meant(key, MODEL) == "cmd"), None):
        message = f"has no `cmd`; rename `{alike}` to it"
    else:
        message = "has no `cmd`; write what starts the model's server"
    if draft.proxy is None:
        found.error(written or draft.node, message)
    else:
        found.warn(written or draft.node, f"{message}. Requests for this model will fail")
    return ()


def _stop_command(draft: _Draft, scope: Scope) -> tuple[str, ...]:
    written = _text(draft.node, "cmdStop", scope.found)
    if written is None or written.is_null:
        return ()
    expanded = scope.text(written.saying(without_comments(written.text), plain=False)).text
    return read_command(written, expanded, scope.found) if expanded.strip() else ()


def _proxy(draft: _Draft, port: int | None, cmd: tuple[str, ...]) -> str:
    """Return the base URL of the model's server; "" after an error."""
    found = draft.scope.found
    if draft.proxy is None:
        port = _port_in_command(draft, cmd) if port is None else port
        return f"http://localhost:{port}"
    warn_misspelt_port(draft.proxy, found)
    if _PORT in draft.proxy.text and port is None:
        found.error(draft.proxy, "uses ${PORT}, but `cmd` does not; pass it to the server, such as `--port ${PORT}`")
        return ""
    if not found.knows(draft.proxy.text):
        return ""
    try:
        url = base_url(draft.proxy.text.strip().replace(_PORT, str(port)))
    except ValueError as error:
        found.error(draft.proxy, str(error))
        return ""
    if _PORT not in draft.proxy.text:
        _compare_ports(draft, draft.proxy, url, cmd)
    return url


def _port_in_command(draft: _Draft, cmd: tuple[str, ...]) -> int | None:
    found, port = draft.scope.found, port_option(cmd)
    if port is not None and 1 <= port <= MOST:
        found.note(draft.node, f"taking port {port} from cmd, since there is no proxy")
    elif cmd and not draft.wants_port and found.knows(draft.cmd):
        remedy = "write `--port ${PORT}` in `cmd`, or the server's address in `proxy`"
        found.error(draft.node, f"has no `proxy`, and its `cmd` neither ${{PORT}} nor `--port N`; {remedy}")
    return port


def _compare_ports(draft: _Draft, written: Scalar, url: str, cmd: tuple[str, ...]) -> None:
    """Warn if the command's port differs from that of `proxy`, unless it mentions the latter: it may map ports."""
    (host, there), here = address_of(url), port_option(cmd)
    if not leads_to_this_machine(host) or there == here or _mentions(draft, str(there)):
        return
    if draft.wants_port:
        message = "the model is given ${PORT}; write ${PORT} here as well, or leave `proxy` out"
    elif here is not None:
        message = f"`cmd` says --port {here}; make sure that they match"
    else:
        return
    draft.scope.found.warn(written, f"requests go to port {there}, but {message}")


def _mentions(draft: _Draft, number: str) -> bool:
    """Whether the command, or a variable in its `env`, contains this number."""
    env = draft.node.entries.get("env")
    items = env.items if isinstance(env, ListNode) else []
    texts = [draft.cmd, *(item.text for item in items if isinstance(item, Scalar))]
    return any(re.search(rf"(?<!\d){number}(?!\d)", text) for text in texts)
