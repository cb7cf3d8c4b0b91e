"""Masks what looks like a secret in commands, environment variables, JSON and URLs, before they are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

MASK: Final = "***"

_ENDS = "(?:key|token|secret|password|passwd|passphrase|[_-]pass|credentials?|bearer)"
_NAME = rf"(?<![\w-])[\w-]*{_ENDS}"
_SECRET_OPTION = re.compile(rf"{_NAME}|-hft", re.IGNORECASE)
_ASSIGNED = re.compile(rf"((?:--env=)?{_NAME}=).+", re.IGNORECASE | re.DOTALL)
_WITHIN = re.compile(rf"({_NAME}[\"']?(?:\s*[=:]\s*|\s+)[\"']?)[^\s\"']+", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"(authorization[\"']?\s*:\s*[\"']?(?:\w+\s+)?)[^\s\"']+", re.IGNORECASE)
_USERINFO = re.compile(r"(://[^\s/:@]*:)[^\s/@]+(?=@)")
_PARAMETER = re.compile(r"(?<=[?&;])([^\s=&;?]+)=[^\s&;]+")
_SECRET_PARAMETER = re.compile(rf".*(?:{_ENDS}|auth)", re.IGNORECASE)


def masked(words: Sequence[str]) -> list[str]:
    """Return an argument vector, or a list of `NAME=value`, with what looks like a secret replaced by `***`."""
    result: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if _SECRET_OPTION.fullmatch(before):
            result.append(MASK)
        elif assigned := _ASSIGNED.fullmatch(word):
            result.append(assigned[1] + MASK)
        else:
            result.append(masked_text(word))
    return result


def masked_text(text: str) -> str:
    """Return text with what looks like a secret replaced by `***`."""
    for pattern in (_WITHIN, _AUTHORIZATION, _USERINFO):
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def masked_members(value: Any, name: str = "") -> Any:
    """Return a JSON value, whose key is `name`, with strings masked where the key looks like that of a secret."""
    if isinstance(value, Mapping):
        return {key: masked_members(member, key) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [masked_members(item, name) for item in value]
    return MASK if isinstance(value, str) and _SECRET_PARAMETER.fullmatch(name) else value


def masked_query(target: str) -> str:
    """Return the target of a request with parameters of its query masked whose names look like that of a secret."""

    def hide(parameter: re.Match[str]) -> str:
        is_secret = _SECRET_PARAMETER.fullmatch(unquote(parameter[1]))
        return f"{parameter[1]}={MASK}" if is_secret else parameter[0]

    return _PARAMETER.sub(hide, target)
