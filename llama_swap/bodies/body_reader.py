"""What each form of a body has of its own: how a model is found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from llama_swap.bodies.json_outline import Outline


class BodyReader(Protocol):
    """Finds the model in a body that is fed to it in packets; and, of JSON, the other members as well."""

    def feed(self, data: bytes) -> None:
        """Take the next packet.

        @raise BadRequest: no model can be read from this body.
        """

    def end(self) -> tuple[int, int]:
        """That was all; return from where up to where the model stands in the body.

        @raise BadRequest: the body is incomplete, or does not have exactly one model.
        """

    def outline(self) -> Outline | None:
        """Return, after `end`, where the outermost members of JSON stand; None: this is a form."""

    def decode(self, spelled: bytes) -> str:
        """Return the model that is spelled so.

        @raise BadRequest: this is no name.
        """

    def spell(self, model: str) -> bytes:
        """Return how another model is written in its place."""
