"""Changes the parameters of requests as the `filters` of a model or a peer say.  Pure.

Paths are those of the original llama-swap: names separated by dots, numbers for elements of arrays, and a backslash
before a dot that is part of a name.  With a `?` at the end of its path, a value is only set where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from llama_swap.bodies.json_edit import JsonEdit
from llama_swap.config.model import IF_ABSENT, Filters

AT_ONCE: Final = 16 * 1024
"""The most bytes of nested parameters that are read in the reactor: whatever they are, it takes some milliseconds."""
_DOT = re.compile(r"(?<!\\)\.")


def apply(filters: Filters, name: str, body: JsonEdit) -> None:
    """Change a request that names the model `name`: strip parameters, set those for all names, then those for `name`.

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
    """Whether there is anything to do for a request that names the model `name`."""
    return any(True for _ in _paths(filters, name))


def takes_long(filters: Filters, name: str, body: JsonEdit) -> bool:
    """Whether `apply` would block the reactor for too long."""
    return body.inside(map(_names, _paths(filters, name))) > AT_ONCE


def _paths(filters: Filters, name: str) -> Iterator[str]:
    yield from filters.strip_params
    for params in (filters.set_params, filters.set_params_by_id.get(name, {})):
        yield from (path.removesuffix(IF_ABSENT) for path in params)


@cache
def _names(path: str) -> tuple[str, ...]:
    return tuple(name.replace("\\.", ".") for name in _DOT.split(path))
