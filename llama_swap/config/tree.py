"""A YAML document as a tree: names are what was typed, and every node knows where it stands.

YAML's own types are of no use here: it would read the model `3.10` as 3.1 and `no` as False. So a scalar
stays text until a key's kind (`llama_swap.config.kinds`) says what that text means.
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
    """Where something stands in the file."""

    line: int
    """Where to point a reader: the line of the value's key, or of the list item, from 1."""
    parent: Place | None
    key: str | int | None
    """Under which name or index `parent` holds this."""

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
        """Return a copy that stands where an alias names it; what it contains stays where it was written."""
        twin = copy(self)
        twin.line, twin.parent, twin.key = line, parent, key
        return twin


@define(eq=False)
class Scalar(Place):
    """A piece of text."""

    text: str
    plain: bool = True
    """Written without quotes, so that `null` may mean null."""
    first_line: int | None = None
    """Line of the first line of a literal block (`|`); None where lines were folded or escaped."""
    size: int = 1
    """How many nodes this stands for."""
    is_filled: bool = False
    """Variables of the environment stand in it, so that null may be what nobody wrote."""

    @property
    def is_null(self) -> bool:
        """Whether this is one of YAML's spellings of null, so that a default holds."""
        return self.plain and self.text in NULLS

    @property
    def is_empty(self) -> bool:
        """Whether this says nothing."""
        return self.is_null

    @property
    def summary(self) -> str:
        """What this is, for a message that says that something else belongs here."""
        text = masked_text(self.text)
        return repr(text if len(text) <= 40 else f"{text[:40]}…")

    def line_of(self, offset: int) -> int:
        """Return the file's line of the text's line `offset`, as near as can be known."""
        return self.line if self.first_line is None else self.first_line + offset

    def saying(self, text: str, *, plain: bool) -> Scalar:
        """Return this place with another text."""
        return Scalar(self.line, self.parent, self.key, text, plain, self.first_line)


@define(eq=False)
class ListNode(Place):
    """A YAML sequence; the attributes that are not explained are those of `Scalar`."""

    items: list[Node] = field(factory=list)
    size: int = 0
    """With aliases written out; 0 while it is being read."""
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
    """What is to be said about a configuration.  Each thing is said once, however often an alias repeats it."""

    filename: str
    """The file that is being read."""
    most: int = 500
    """After so many errors, reading ends: whatever this is, it was not written as a configuration."""
    _errors: dict[Problem, None] = field(factory=dict, init=False)
    _warnings: dict[Problem, None] = field(factory=dict, init=False)
    _notes: dict[Problem, None] = field(factory=dict, init=False)
    _unknown: set[str] = field(factory=set, init=False)

    def error(self, at: Place, message: str, *, line: int | None = None) -> None:
        """The file cannot be used because of this; `line` where it is known better than by the node."""
        self._errors[Problem(line or at.line, at.path, message, at.file)] = None
        if len(self._errors) >= self.most:
            raise self.refusal("too many errors; reading ends here")

    def unknown(self, at: Place, written: str, message: str) -> None:
        """`written` stands for a text that cannot be had, and stays where it is."""
        self._unknown.add(written)
        self.error(at, message)

    def knows(self, text: str) -> bool:
        """Whether `text` is all there; if not, that has been told, and there is no sense in judging it."""
        return not any(written in text for written in self._unknown)

    def warn(self, at: Place, message: str) -> None:
        """The file can be used, but this is likely not what its author meant."""
        self._warnings[Problem(at.line, at.path, message, at.file)] = None

    def note(self, at: Place, message: str) -> None:
        """Nothing is wrong, but a decision was made that its author may want to know."""
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
        """Return the error for something that makes reading on pointless, with all that was found before."""
        return ConfigError(self.filename, (*self.errors, Problem(line, path, message, self.filename)), self.warnings)


def _by_line(problems: dict[Problem, None]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0)))
