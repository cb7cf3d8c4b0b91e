"""Finds the model that a request's body names, whatever its form: JSON, multipart or urlencoded.

The model that is routed must be the model that the upstream will read, however its parser treats a doubtful body: so a
body names exactly one model, and in one way only, or it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from attrs import define

from llama_swap.errors import BadRequest
from llama_swap.relay.headers import Body
from llama_swap.web.json_body import JsonReader, JsonStream, WholeJson, read_model, replace_model
from llama_swap.web.spool import Spool, Spooled

T_co = TypeVar("T_co", covariant=True)
Types = Sequence[bytes] | None
"""The values of a request's Content-Type fields."""


class BodyReader(Protocol):
    """Finds the model in a body that is fed to it in packets."""

    def feed(self, data: bytes) -> None:
        """Take the next packet.

        @raise BadRequest: no model can be read from this body.
        """

    def end(self) -> tuple[int, int]:
        """That was all; return from where up to where the model stands in the body.

        @raise BadRequest: the body is incomplete, or does not have exactly one model.
        """

    def decode(self, spelled: bytes) -> str:
        """Return the model that is spelled so.

        @raise BadRequest: this is no name.
        """

    def spell(self, model: str) -> bytes:
        """Return how another model is written in its place."""


@define
class Named(Generic[T_co]):
    """A body or query that names a model, and how to get one from it that names another model."""

    model: str
    text: T_co
    renamed: Callable[[str], T_co]
    is_json: bool = False


def read_body(types: Types, body: bytes) -> Named[bytes | Body]:
    """Return what a body names that is there as a whole, and is not large.

    @raise BadRequest: it does not name one model, or not clearly.
    """
    if types is None or (len(types) == 1 and types[0].startswith(b"application/json")):  # most are
        return Named(read_model(body), body, partial(replace_model, body), is_json=True)
    reader = _reader(types, WholeJson)
    reader.feed(body)
    return _named(reader, body)


def read_query(query: bytes) -> Named[bytes]:
    """Return what `model=` in a query names.

    @raise BadRequest: it does not name one model, or not clearly.
    """
    from llama_swap.web.urlencoded import UrlencodedReader

    reader = UrlencodedReader(None)
    reader.feed(query)
    return _named(reader, query)


def _named(reader: BodyReader, text: bytes) -> Named[bytes]:
    """Return what `text` names, all of which `reader` has seen."""
    start, end = reader.end()

    def renamed(model: str) -> bytes:
        return b"".join([text[:start], reader.spell(model), text[end:]])

    return Named(reader.decode(text[start:end]), text, renamed, isinstance(reader, JsonReader))


class LargeBody:
    """A body that is read while it comes, and kept in a spool.  For twisted.web, it is the `content` of its request."""

    def __init__(self, types: Types, *, names_model: bool) -> None:
        self._spool = Spool()
        self._reader: BodyReader | None = None
        self._refusal: BadRequest | None = None
        if names_model:
            try:
                self._reader = _reader(types, JsonStream)
            except BadRequest as error:
                self._refusal = error

    def write(self, data: bytes) -> None:
        """Take the next packet.

        @raise Unavailable: it cannot be kept.
        """
        if self._reader is not None:
            try:
                self._reader.feed(data)
            except BadRequest as error:
                self._reader, self._refusal = None, error
        if self._refusal is None:
            self._spool.write(data)

    def read(self) -> Named[bytes | Body]:
        """Return what the body names, now that all of it has come.

        @raise BadRequest: it does not name one model, or not clearly.
        """
        if self._refusal is not None:
            raise self._refusal
        assert self._reader is not None, "this body is not for a model to be named in"
        reader = self._reader
        text = self._spool.in_memory()
        if text is not None:
            return _named(reader, text)
        start, end = reader.end()
        if end - start > LONGEST_NAME:
            raise BadRequest("invalid 'model': no model has a name that long")
        model = reader.decode(self._spool.read(start, end))
        return Named(
            model,
            Spooled(self._spool),
            lambda other: Spooled(self._spool, start, end, reader.spell(other)),
            isinstance(reader, JsonReader),
        )

    def as_it_came(self) -> bytes | Body:
        """Return the body."""
        text = self._spool.in_memory()
        return Spooled(self._spool) if text is None else text

    # -- what twisted.web does with the content of a request --------------------------------------------------

    def seek(self, offset: int) -> None:
        """Nothing has to be found again."""

    def close(self) -> None:
        """The request is over."""
        self._spool.close()


LONGEST_NAME = 8 * 1024 * 1024
"""Bytes of `model`, however it is spelled, in a body that is not kept in memory."""


def _reader(types: Types, json_reader: Callable[[], BodyReader]) -> BodyReader:
    """Return what reads a body with this Content-Type."""
    if types is not None and len(types) > 1:
        raise BadRequest("more than one Content-Type; which one is meant cannot be known")
    media_type = types[0].partition(b";")[0].strip().lower() if types else b""
    if types and media_type.startswith(b"multipart/"):
        from llama_swap.web.multipart import MultipartReader

        return MultipartReader(types[0])
    if media_type == b"application/x-www-form-urlencoded":
        from llama_swap.web.urlencoded import UrlencodedReader

        return UrlencodedReader(json_reader)
    return json_reader()
