"""A YAML document as a tree of nodes that know their place in the file; and what is found wrong with it.

YAML's own types are not used: they would turn a model `3.10` into 3.1, and `no` into False.  A scalar stays text until
the kind of its key (`llama_swap.config.kinds`) interprets it.
"""

from __future__ import annotations

from copy import copy
from typing import ClassVar, Self, TypeAlias

from attrs import define, field

from llama_swap.config.masking import masked_text
from llama_swap.errors import ConfigError, Problem

NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@define(eq=False)
class Place:
    """A place in the file."""

    line: int
    """The line for messages, from 1: that of the key, or of the list item."""
    parent: Place | None
    key: str | int | None
    """The name or index in `parent`; None for the root."""

    @property
    def path(self) -> str:
        """The key path from the top of the file, such as `models.llama.aliases[0]`."""
        names: list[str] = []
        place: Place | None = self
        while place is not None and place.key is not None:
            name = str(place.key)
            names.append(
                f"[{name}]" if isinstance(place.key, int) else f".{name if name.isprintable() else repr(name)}"
            )
            place = place.parent
        return "".join(reversed(names)).removeprefix(".")

    @property
    def file(self) -> str | None:
        """The file in which this was written."""
        place: Place = self
        while place.parent is not None:
            place = place.parent
        return getattr(place, "origin", None)

    def placed(self, line: int, parent: Place | None, key: str | int | None) -> Self:
        """Return a copy at the place of a YAML alias; the nodes within it keep their places."""
        twin = copy(self)
        twin.line, twin.parent, twin.key = line, parent, key
        return twin


@define(eq=False)
class Scalar(Place):
    """A YAML scalar, as text."""

    text: str
    plain: bool = True
    """Written without quotes, so that `null` may mean null."""
    first_line: int | None = None
    """The line of the file at which a literal block (`|`) begins; None for other scalars, whose lines may be folded."""
    size: int = 1
    """The number of nodes, this one included."""
    is_filled: bool = False
    """It contained `${env.NAME}`, so that nobody may have meant it to be null."""

    @property
    def is_null(self) -> bool:
        """Whether this is one of YAML's spellings of null, which means the default."""
        return self.plain and self.text in NULLS

    @property
    def is_empty(self) -> bool:
        """Whether this is null."""
        return self.is_null

    @property
    def summary(self) -> str:
        """A short description for messages of the form `must be …, not …`; secrets are masked."""
        text = masked_text(self.text)
        return repr(text if len(text) <= 40 else f"{text[:40]}…")

    def line_of(self, offset: int) -> int:
        """Return the line of the file for line `offset` (from 0) of the text, as precisely as is known."""
        return self.line if self.first_line is None else self.first_line + offset

    def saying(self, text: str, *, plain: bool) -> Scalar:
        """Return a scalar with another text at this place."""
        return Scalar(self.line, self.parent, self.key, text, plain, self.first_line)


@define(eq=False)
class ListNode(Place):
    """A YAML sequence; for its other attributes see `Scalar`."""

    items: list[Node] = field(factory=list)
    size: int = 0
    """The number of nodes with aliases expanded, this one included; 0 while it is being read."""
    is_null: ClassVar = False
    summary: ClassVar = "a list"

    @property
    def is_empty(self) -> bool:
        return not self.items


@define(eq=False)
class MapNode(Place):
    """A YAML mapping, merge keys (`<<`) included; otherwise as `ListNode`."""

    entries: dict[str, Node] = field(factory=dict)
    size: int = 0
    origin: str | None = None
    """The file, in the root of a document."""
    is_null: ClassVar = False
    summary: ClassVar = "a mapping"

    @property
    def is_empty(self) -> bool:
        return not self.entries


Node: TypeAlias = Scalar | ListNode | MapNode


@define
class Findings:
    """Collects errors, warnings and notes about a configuration, each once, however often an alias repeats it."""

    filename: str
    """The file that is being read."""
    most: int = 500
    """The number of errors after which reading ends: such a file is hardly a configuration."""
    _errors: dict[Problem, None] = field(factory=dict, init=False)
    _warnings: dict[Problem, None] = field(factory=dict, init=False)
    _notes: dict[Problem, None] = field(factory=dict, init=False)
    _unknown: set[str] = field(factory=set, init=False)

    def error(self, at: Place, message: str, *, line: int | None = None) -> None:
        """Report what makes the file unusable; `line` if it is known more precisely than by `at`.

        @raise ConfigError: there are too many errors.
        """
        self._errors[Problem(line or at.line, at.path, message, at.file)] = None
        if len(self._errors) >= self.most:
            raise self.refusal("too many errors; reading ends here")

    def unknown(self, at: Place, written: str, message: str) -> None:
        """Report an error about `written`, such as `${env.NAME}`, which is left in the text unexpanded."""
        self.unfilled(written)
        self.error(at, message)

    def unfilled(self, written: str) -> None:
        """Note that `written` is left in the text, for a reason that has been reported."""
        self._unknown.add(written)

    def knows(self, text: str) -> bool:
        """Whether `text` is fully expanded; if not, that has been reported, and checking it is pointless."""
        return not any(written in text for written in self._unknown)

    def warn(self, at: Place, message: str) -> None:
        """Report what is valid, but most likely a mistake."""
        self._warnings[Problem(at.line, at.path, message, at.file)] = None

    def note(self, at: Place, message: str) -> None:
        """Report a decision that the author of the file may want to know about."""
        self._notes[Problem(at.line, at.path, message, at.file)] = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        return _by_line(self._errors)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return _by_line(self._warnings)

    @property
    def notes(self) -> tuple[Problem, ...]:
        return _by_line(self._notes)

    def refusal(self, message: str, *, line: int | None = None, path: str = "") -> ConfigError:
        """Return the error for a problem after which reading cannot go on, with all that was found before."""
        return ConfigError(self.filename, (*self.errors, Problem(line, path, message, self.filename)), self.warnings)


def _by_line(problems: dict[Problem, None]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0)))
