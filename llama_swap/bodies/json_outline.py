"""Where the outermost members of a JSON text stand."""

from __future__ import annotations

from typing import Final, NamedTuple

from attrs import frozen

from llama_swap.errors import BadRequest

MOST_MEMBERS: Final = 1000
"""The most members that are noted of a request's body; requests have some tens of parameters."""
ALWAYS: Final = "model"
"""The key that is noted however many members there are."""


class Member(NamedTuple):
    """A member of an object or an element of an array, and where it stands: byte offsets from the text's beginning."""

    key: str | None
    """The key, or the index of an element.  None: a key longer than any that is looked for."""
    start: int
    value: int
    end: int


@frozen
class Outline:
    """Where the outermost brackets of a text stand, and the members between them, repeated keys included."""

    opening: int
    closing: int
    members: list[Member]
    is_whole: bool
    """False: there are more members than could be noted; only those with the key `model` are here."""


class Noted:
    """Up to `most` members; once there are more, only one with the key `model`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.members: list[Member] = []
        self.is_whole = True
        """See `Outline`."""

    def add(self, member: Member) -> None:
        """Note the next member.

        @raise BadRequest: there is a second `model` among members too many to note.
        """
        if self.is_whole and len(self.members) == self._most:
            self.is_whole = False
            self.members = [noted for noted in self.members if noted.key == ALWAYS]
        if self.is_whole or member.key == ALWAYS:
            self.members.append(member)
            if not self.is_whole and len(self.members) > 1:
                many = f"more than one '{ALWAYS}' key among more than {self._most} members"  # perhaps not the body's
                raise BadRequest(f"{many}; which one is meant cannot be known")
