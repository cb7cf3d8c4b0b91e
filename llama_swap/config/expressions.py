"""The language of a matrix: `(a | b) & c` stands for the combinations `a & c` and `b & c`.  Pure.

    alternatives = together *( "|" together )
    together     = part *( "&" part )
    part         = NAME | "+" NAME | "(" alternatives ")"

A NAME is a model; `+` and a NAME refer to another expression.  The number of combinations can grow exponentially with
the length of an expression, so each that is made, intermediate results included, is counted against a budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Final

from attrs import define, field, frozen

MOST: Final = 20_000
"""The most combinations that may be made for one matrix, intermediate results included."""

ModelSets = tuple[frozenset[str], ...]
"""Sets of models that may run together, in the order of their definition, without duplicates."""

_TOKEN = re.compile(r"\s*([A-Za-z0-9._-]+(?![^\s&|()+])|[&|()+])")
_WORD = re.compile(r"[^\s&|()+]+")
_SIGNS = frozenset("&|()+")


class ExpressionError(ValueError):
    """An expression cannot be used; the message says why, and where."""


@define
class Budget:
    """How many more combinations may be made."""

    left: int = MOST

    @property
    def is_spent(self) -> bool:
        """Whether the limit was exceeded, so that no further expression need be read."""
        return self.left < 0

    def spend(self, combinations: int) -> None:
        """Count combinations that are about to be made.

        @raise ExpressionError: that would exceed the limit.
        """
        self.left -= combinations
        if self.is_spent:
            raise ExpressionError(f"the matrix stands for more than {MOST:,} combinations; use `|` more sparingly")


@frozen
class Meaning:
    """Resolves the names in an expression; both functions may raise `ExpressionError`."""

    model: Callable[[str], str]
    """From the name of a model to its id."""
    expression: Callable[[str], ModelSets]
    """From the name of another expression to its combinations."""


def combinations(text: str, meaning: Meaning, budget: Budget) -> ModelSets:
    """Return the combinations that an expression stands for.

    @raise ExpressionError: its syntax or a name is wrong, or the budget does not suffice.
    """
    reader = _Reader(text, meaning, budget)
    try:
        found = reader.alternatives()
    except RecursionError:
        raise ExpressionError("parentheses, or references, are nested too deeply") from None
    if reader.token:
        raise reader.unexpected("`&`, `|` or the end")
    return found


@define
class _Reader:
    """A recursive descent parser with one token of lookahead."""

    _text: str
    _meaning: Meaning
    _budget: Budget
    token: str = ""
    """The next one; empty at the end."""
    _at: int = field(init=False, default=0)
    """The offset at which it begins."""
    _end: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._advance()

    def alternatives(self) -> ModelSets:
        """Read what is joined by `|`."""
        found = dict.fromkeys(self._together())
        if self.token != "|":  # noqa: S105 -- no password
            return tuple(found)
        while self._accept("|"):
            found.update(dict.fromkeys(self._together()))
        self._budget.spend(len(found))
        return tuple(found)

    def _together(self) -> ModelSets:
        found = self._part()
        while self._accept("&"):
            other = self._part()
            self._budget.spend(len(found) * len(other))
            found = tuple(dict.fromkeys(one | another for one, another in product(found, other)))
        return found

    def _part(self) -> ModelSets:
        if self._accept("("):
            found = self.alternatives()
            if not self._accept(")"):
                raise self.unexpected("`&`, `|` or `)`")
            return found
        refers = self._accept("+")
        if not self.token or self.token in _SIGNS:
            raise self.unexpected("the name of a set" if refers else "the name of a model, `+` or `(`")
        try:
            found = self._meaning.expression(self.token) if refers else (frozenset({self._meaning.model(self.token)}),)
        except ExpressionError as error:
            raise self._wrong(str(error)) from None
        self._advance()
        return found

    def unexpected(self, wanted: str) -> ExpressionError:
        """Return the error for a token where something else belongs."""
        return self._wrong(f"{wanted} belongs here, not {f'`{self.token}`' if self.token else 'the end'}")

    def _wrong(self, what: str) -> ExpressionError:
        before, after = self._text[max(0, self._at - 30) : self._at], self._text[self._at : self._at + 30]
        return ExpressionError(f"{what}, at character {self._at + 1}, in `{before}{after}`")

    def _accept(self, sign: str) -> bool:
        if self.token != sign:
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._end)
        if match:
            self.token, self._at, self._end = match[1], match.start(1), match.end()
            return
        word = _WORD.search(self._text, self._end)
        self.token, self._at = "", word.start() if word else len(self._text)
        if word:
            raise self._wrong(f"{word[0]!r} cannot stand here; for a model with such a name, add one to `vars`")
