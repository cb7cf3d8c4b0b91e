"""Kinds of values that are numbers: counts, times, sizes.  See `llama_swap.config.kinds`."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from llama_swap.config.kinds import MACRO, Plain, Schema
from llama_swap.config.tree import Findings, Node, Scalar

MOST_DIGITS: Final = 20
_MOST: Final = 2**31 - 1
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0o[0-7][0-7_]*|0b[01][01_]*)")
_FLOAT = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]\+?[0-9]{1,2})?")
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DURATION = re.compile(r"([0-9]{1,9}) ?(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_GO_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
_GO_DURATION = re.compile(rf"(?:{_GO_PART.pattern})+")
_GO_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_SIZE = re.compile(r"([1-9][0-9_]*) ?(?:([KMGT])(?:i?B)?)?", re.IGNORECASE)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def integer(text: str) -> int | None:
    """Return the integer that YAML reads from `text`, or None if it is none.

    Separators and other bases are accepted, but not `010`, which is octal in YAML 1.1 and decimal in YAML 1.2.
    """
    if len(text) > MOST_DIGITS or not _INTEGER.fullmatch(text):
        return None
    return int(text.replace("_", ""), 0)


@frozen
class Whole(Plain):
    """A whole number of something."""

    default: int
    unit: str = ""
    """What is counted, in the plural."""
    least: int = 0
    most: int = _MOST
    raise_to: int | None = None
    """Lower values become this, or the default if `zero_is_default`, with a warning."""
    zero_is_default: bool = False

    def read(self, node: Node, found: Findings) -> int:
        text = node.text.strip() if isinstance(node, Scalar) else ""
        value = integer(text)
        if value is None and len(text) <= MOST_DIGITS and _FLOAT.fullmatch(text) and float(text).is_integer():
            value = int(float(text))
        if value is None:
            found.error(node, f"{self._wanted()}, not {node.summary}{self._instead(text)}")
            return self.default
        if self.raise_to is not None and value < self.raise_to:
            if self.zero_is_default:
                found.warn(node, f"{self._wanted()}, not {value}; taken as {self.default}, the default")
                return self.default
            found.warn(node, f"raised from {value} to {self.raise_to}, the least that is useful")
            return self.raise_to
        if value > self.most and self.unit == "seconds":
            found.warn(node, f"is longer than can be waited for; taken as {self.most}")
            return self.most
        if not self.least <= value <= self.most:
            found.error(node, f"{self._wanted()} from {self.least} to {self.most}, not {value}")
            return self.default
        return self.default if self.zero_is_default and value == 0 else value

    def _wanted(self) -> str:
        return f"must be a whole number of {self.unit}" if self.unit else "must be a whole number"

    def _instead(self, text: str) -> str:
        duration = _DURATION.fullmatch(text)
        if not duration or self.unit != "seconds":
            return ""
        return f"; write {int(duration[1]) * _SECONDS[duration[2]]}"

    def schema(self) -> Schema:
        least = {} if self.raise_to is not None else {"minimum": self.least}
        return {"anyOf": [{"type": ["integer", "null"], **least, "maximum": self.most}, MACRO]}


@frozen
class Seconds(Plain):
    """A time in seconds, with or without decimals."""

    default: float

    def read(self, node: Node, found: Findings) -> float:
        text = node.text.strip() if isinstance(node, Scalar) else ""
        if not _DECIMAL.fullmatch(text) or float(text) > _MOST:
            found.error(node, f"must be a number of seconds, such as 10 or 2.5, not {node.summary}")
            return self.default
        return float(text)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": ["number", "null"], "minimum": 0}, MACRO]}


@frozen
class Duration:
    """A duration of Go, such as `500ms`, `5s` or `1m30s`, or a number of seconds; 0 means the default."""

    default: float
    least: float = 0.0

    def read(self, node: Node, found: Findings) -> float:
        text = node.text.strip() if isinstance(node, Scalar) else ""
        if _DECIMAL.fullmatch(text):
            seconds = float(text)
        elif text and _GO_DURATION.fullmatch(text):
            seconds = sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_PART.findall(text))
        else:
            found.error(node, f"must be a time, such as 5s or 1m30s, not {node.summary}")
            return self.default
        if seconds == 0:
            return self.default
        if not self.least <= seconds <= _MOST:
            found.error(node, f"must be at least {self.show(self.least)}, got {text}")
            return self.default
        return seconds

    def show(self, value: float) -> str:
        return f"{value:g}s"

    def schema(self) -> Schema:
        return {"anyOf": [{"type": ["number", "null"]}, {"type": "string", "pattern": "^[0-9.]"}, MACRO]}


@frozen
class Size(Plain):
    """A number of bytes, also with a unit, as in `64M` or `256MiB`; all units are powers of 1024."""

    default: int

    def read(self, node: Node, found: Findings) -> int:
        size = _SIZE.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
        if size is None or len(size[1]) > 20:
            found.error(node, f"must be a number of bytes above 0, such as 1048576, 64M or 256MiB, not {node.summary}")
            return self.default
        return int(size[1].replace("_", "")) * 1024 ** _POWERS[(size[2] or "").upper()]

    def schema(self) -> Schema:
        return {
            "anyOf": [
                {"type": ["integer", "null"], "minimum": 1},
                {"type": "string", "pattern": "^[0-9]"},
                MACRO,
            ]
        }
