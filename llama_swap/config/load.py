"""Loads configuration files: from paths or text to a `Config`, or to an error with every problem in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import evolve, field, fields_dict, frozen

from llama_swap.config.access import judge_cors, judge_keys
from llama_swap.config.assemble import indented, read_aliases, read_models
from llama_swap.config.compose import compose
from llama_swap.config.fields import read_keys
from llama_swap.config.hooks import read_hooks
from llama_swap.config.keys import IN_MODELS, TOP
from llama_swap.config.macros import Scope
from llama_swap.config.merge import merge
from llama_swap.config.model import Config
from llama_swap.config.peers import read_peers
from llama_swap.config.profiles import read_pin_profiles, read_profiles
from llama_swap.config.references import Known
from llama_swap.config.routing import read_routing
from llama_swap.config.selectors import read_selectors
from llama_swap.config.tree import Findings, MapNode
from llama_swap.errors import ConfigError, Problem

MAX_BYTES: Final = 1024 * 1024
"""The largest file that is read; the largest seen in the wild has 85 kB."""

_NONE: Final[Mapping[str, int]] = {}
_HERE: Final = Path()
_FIELDS: Final = frozenset(fields_dict(Config))


@frozen
class Loaded:
    """A valid configuration, and what to tell its author about it."""

    config: Config
    warnings: tuple[Problem, ...] = ()
    """What is most likely a mistake, in the order of the file."""
    notes: tuple[Problem, ...] = ()
    """Decisions made for the author, such as a port taken from `cmd`."""
    _places: Mapping[str, Problem] = field(factory=dict, alias="places", eq=False, repr=False)

    def at(self, path: str, message: str) -> Problem:
        """Return a problem with `message` at a key of `_places`, with its place in the file."""
        return evolve(self._places.get(path, Problem(None, path, "")), message=message)


def load_config(
    *paths: str, environ: Mapping[str, str], ports: Mapping[str, int] = _NONE, base: Path = _HERE
) -> Loaded:
    """Read the files at `paths`, relative to `base`, and merge them in this order.

    `${env.NAME}` is filled from `environ`; `ports` has the former `${PORT}` of each model, kept where possible.

    @raise ConfigError: they cannot be used; it has every problem that was found.
    """
    contents = {path: _content(path, base) for path in paths}
    loaded = _loaded({path: content for path, (content, _) in contents.items()}, environ, ports)
    remedy = "`chmod o-r` it, or take the keys from the environment with ${env.NAME}"
    message = f"every user of this machine can read the keys in this file; {remedy}"
    warnings = [
        Problem(line, "apiKeys", message, path)
        for path, (content, is_public) in contents.items()
        if is_public and (line := _line_of_key(content, loaded.config))
    ]
    return evolve(loaded, warnings=(*loaded.warnings, *warnings))


def parse_config(
    text: str | bytes, *, filename: str, environ: Mapping[str, str], ports: Mapping[str, int] = _NONE
) -> Loaded:
    """Read `text` as `load_config` reads a file; messages name it `filename`."""
    return _loaded({filename: text}, environ, ports)


def _content(path: str, base: Path) -> tuple[bytes, bool]:
    """Return the content of a file, up to one byte more than allowed, and whether it is world-readable."""
    try:
        with (base / path).open("rb") as file:
            return file.read(MAX_BYTES + 1), bool(os.fstat(file.fileno()).st_mode & stat.S_IROTH)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        reason += "; give it with --config-dir" if isinstance(error, IsADirectoryError) else ""
        raise ConfigError(path, [Problem(None, "", f"cannot be read: {reason}")]) from None


def _line_of_key(content: bytes, config: Config) -> int | None:
    """Return the first line that contains one of the `apiKeys`, from 1."""
    found = (content.find(key.encode()) for key in config.api_keys)
    first = min((position for position in found if position >= 0), default=None)
    return None if first is None else content.count(b"\n", 0, first) + 1


def _loaded(texts: Mapping[str, str | bytes], environ: Mapping[str, str], ports: Mapping[str, int]) -> Loaded:
    """Return the configuration of several texts, given by file name, merged in this order."""
    first = next(iter(texts))
    found = Findings(first)
    roots: list[MapNode] = []
    unreadable: list[Problem] = []
    for found.filename, text in texts.items():
        try:
            root = _root(text, environ, found)
        except ConfigError as error:
            unreadable += error.problems
        else:
            roots += [root] if root is not None else []
    if unreadable:
        raise ConfigError(first, tuple(dict.fromkeys((*found.errors, *unreadable))), found.warnings)
    found.filename = first
    if not roots:
        raise found.refusal("the file is empty; it needs at least `models:`")
    root = merge(roots, found)
    config = _config(root, found, ports)
    if found.errors:
        raise ConfigError(first, found.errors, found.warnings)
    return Loaded(config, found.warnings, found.notes, dict(_places(root)))


def _places(root: MapNode) -> Iterator[tuple[str, Problem]]:
    """Yield the places of keys that may turn out wrong after loading: `KEY`, `store.path`, `models.ID.cmd`."""
    models = root.entries.get("models")
    commands = {
        f"models.{name}.cmd": model.entries["cmd"]
        for name, model in (models.entries if isinstance(models, MapNode) else {}).items()
        if isinstance(model, MapNode) and "cmd" in model.entries
    }
    store = root.entries.get("store")
    files = {f"store.{name}": node for name, node in (store.entries if isinstance(store, MapNode) else {}).items()}
    for path, node in (root.entries | files | commands).items():
        yield path, Problem(node.line, node.path, "", node.file)


def _root(text: str | bytes, environ: Mapping[str, str], found: Findings) -> MapNode | None:
    root = compose(_decoded(text, found), environ, found)
    if root is None or root.is_empty:
        return None
    if not isinstance(root, MapNode):
        raise found.refusal(f"must be a mapping with at least `models:`, not {root.summary}", line=root.line)
    return root


def _decoded(text: str | bytes, found: Findings) -> str:
    """Return the text without a byte order mark.

    @raise ConfigError: it is too large, or not UTF-8.
    """
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(content) > MAX_BYTES:
        raise found.refusal(f"the file is larger than {MAX_BYTES // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise found.refusal("is not UTF-8 text; save it as UTF-8", line=line) from None


def _config(root: MapNode, found: Findings, ports: Mapping[str, int]) -> Config:
    """Return the configuration, which must not be used if `found` has errors."""
    scope = Scope(found).defining(root.entries.get("macros"))
    top = read_keys(root, TOP, scope.expand, found, IN_MODELS)
    if (keys := root.entries.get("apiKeys")) is not None:
        judge_keys(keys, scope.expand(keys), found)
    if (security := root.entries.get("security")) is not None:
        judge_cors(top["security"].cors, security, found)
    section = indented(_models_section(root, found), found)
    models = read_models(section, top, scope, ports)
    peers = read_peers(top["peers"], scope)
    known = Known(models, read_aliases(section, models, found), peers)
    routing = read_routing(top, known, scope)
    selectors = read_selectors(top["selectors"], known, routing, scope)
    pin_profiles = read_pin_profiles(top["profiles"], known, selectors, scope)
    hooks = read_hooks(top["hooks"], known, pin_profiles, scope)
    sections = {
        "models": models,
        "profiles": read_profiles(top["profiles"], known, scope),
        "pin_profiles": pin_profiles,
        "selectors": selectors,
        "peers": peers,
        "routing": routing,
        "preload": hooks.preload,
        "startup_profile": hooks.profile,
    }
    return Config(**{**{name: value for name, value in top.items() if name in _FIELDS}, **sections})


def _models_section(root: MapNode, found: Findings) -> MapNode:
    section = root.entries.get("models")
    if isinstance(section, MapNode) and not section.is_empty:
        return section
    peers = root.entries.get("peers")
    if section is None and (peers is None or peers.is_empty):
        found.error(root, "`models` is missing; it names the models and the command that starts each")
    elif section is not None and section.is_empty:
        beside = (name for name, node in root.entries.items() if isinstance(node, MapNode) and "cmd" in node.entries)
        model = next(beside, None)
        remedy = "add one with its `cmd`" if model is None else f"indent {model!r}, so that it belongs here"
        found.warn(section, f"there are no models; {remedy}")
    elif section is not None:
        found.error(section, f"must be a mapping of model names to their settings, not {section.summary}")
    return MapNode(root.line, root, "models")
