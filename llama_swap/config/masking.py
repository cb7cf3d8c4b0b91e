"""Keeps secrets in commands and variables from being shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MASK: Final = "***"

_NAME = r"(?<![\w-])[\w-]*(?:key|token|secret|password|passwd|passphrase|credentials?|bearer)"
_SECRET_OPTION = re.compile(rf"{_NAME}|-hft", re.IGNORECASE)
_ASSIGNED = re.compile(rf"((?:--env=)?{_NAME}=).+", re.IGNORECASE | re.DOTALL)
_WITHIN = re.compile(rf"({_NAME}[\"']?(?:\s*[=:]\s*|\s+)[\"']?)[^\s\"']+", re.IGNORECASE)


def masked(words: Sequence[str]) -> list[str]:
    """Return an argument vector with what looks like a secret replaced by `***`."""
    result: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if _SECRET_OPTION.fullmatch(before):
            result.append(MASK)
        elif assigned := _ASSIGNED.fullmatch(word):
            result.append(assigned[1] + MASK)
        else:
            result.append(_WITHIN.sub(rf"\1{MASK}", word))
    return result
