"""What differs between JSON, multipart and urlencoded bodies: how the model is found and spelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from llama_swap.bodies.json_outline import Outline


class BodyReader(Protocol):
    """Finds the model in a body that is fed to it in packets; in JSON, the other members as well."""

    def feed(self, data: bytes) -> None:
        """Take the next packet.

        @raise BadRequest: no model can be read from this body.
        """

    def end(self) -> tuple[int, int]:
        """The body is complete; return where the model starts and ends in it, as byte offsets.

        @raise BadRequest: the body is incomplete, or does not have exactly one model.
        """

    def outline(self) -> Outline | None:
        """Return, after `end`, where the outermost members of JSON stand; None for a form."""

    def decode(self, spelled: bytes) -> str:
        """Return the model that the body's bytes `spelled` stand for.

        @raise BadRequest: they are no valid name.
        """

    def spell(self, model: str) -> bytes:
        """Return the bytes for `model` in its place."""
