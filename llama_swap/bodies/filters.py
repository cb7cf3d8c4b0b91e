"""Changes the parameters of requests as `filters` of a model or a peer says.  Pure.

Paths are those of the original llama-swap: names with dots between them, numbers for elements of lists, and a backslash
before a dot that is part of a name.  A `?` behind a path makes the value one for requests that have nothing there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from llama_swap.bodies.json_edit import JsonEdit
from llama_swap.config.model import IF_ABSENT, Filters

AT_ONCE: Final = 16 * 1024
"""Bytes in which parameters within parameters are found in some milliseconds, whatever they are."""
_DOT = re.compile(r"(?<!\\)\.")


def apply(filters: Filters, name: str, body: JsonEdit) -> None:
    """Change a request that was asked for by `name`: first what is stripped, then what is set for all, then for it.

    @raise BadRequest: the body has too many members.
    """
    for path in filters.strip_params:
        body.strip(_names(path))
    for params in (filters.set_params, filters.set_params_by_id.get(name, {})):
        for path, value in params.items():
            names = _names(path.removesuffix(IF_ABSENT))
            if not (path.endswith(IF_ABSENT) and body.has(names)):
                body.set(names, value)


def change_anything(filters: Filters, name: str) -> bool:
    """Whether there is anything to do for a request that was asked for by `name`."""
    return any(True for _ in _paths(filters, name))


def takes_long(filters: Filters, name: str, body: JsonEdit) -> bool:
    """Whether `apply` would hold up others."""
    return body.inside(map(_names, _paths(filters, name))) > AT_ONCE


def _paths(filters: Filters, name: str) -> Iterator[str]:
    yield from filters.strip_params
    for params in (filters.set_params, filters.set_params_by_id.get(name, {})):
        yield from (path.removesuffix(IF_ABSENT) for path in params)


@cache
def _names(path: str) -> tuple[str, ...]:
    return tuple(name.replace("\\.", ".") for name in _DOT.split(path))
