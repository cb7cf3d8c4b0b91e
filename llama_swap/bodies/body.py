"""Finds the model that a request's body names, whatever its form: JSON, multipart or urlencoded.

The model that is routed must be the model that the upstream will read, however its parser treats a doubtful body: so a
body names exactly one model, and in one way only, or it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from attrs import define, evolve

from llama_swap.bodies.body_reader import BodyReader
from llama_swap.bodies.json_body import JsonStream, WholeJson, read_model, replace_model
from llama_swap.bodies.spool import Edit, Spool, Spooled, edited
from llama_swap.errors import BadRequest
from llama_swap.http.headers import Body

if TYPE_CHECKING:
    from llama_swap.bodies.json_edit import JsonEdit
    from llama_swap.bodies.json_outline import Outline

T_co = TypeVar("T_co", covariant=True)
Types = Sequence[bytes] | None
"""The values of a request's Content-Type fields."""


class Named(Protocol[T_co]):
    """A body or query that names a model, and can be rewritten: `T_co` is bytes, or a `Body`."""

    @property
    def model(self) -> str:
        """The model that it names."""

    @property
    def text(self) -> T_co:
        """The body or query as it came."""

    def renamed(self, model: str) -> T_co:
        """Return a copy that names another model."""

    def parameters(self) -> JsonEdit | None:
        """Return its members, the model among them, for changes; None if it is not JSON."""

    def changed(self, parameters: JsonEdit) -> T_co:
        """Return a copy with these members."""


def read_body(types: Types, body: bytes) -> Named[bytes | Body]:
    """Return what a small body names, which has come as a whole.

    @raise BadRequest: it does not name exactly one model, or not unambiguously.
    """
    if types is None or (len(types) == 1 and types[0].startswith(b"application/json")):  # most are
        return _SmallJson(read_model(body), body)
    reader = _reader(types, WholeJson)
    reader.feed(body)
    return _named(reader, body)


def read_query(query: bytes) -> Named[bytes]:
    """Return what `model=` in a query names.

    @raise BadRequest: it does not name exactly one model, or not unambiguously.
    """
    from llama_swap.bodies.urlencoded import UrlencodedReader

    reader = UrlencodedReader(None)
    reader.feed(query)
    return _named(reader, query)


@define
class _InMemory:
    """What the `Named` in memory have in common."""

    model: str
    text: bytes

    def changed(self, parameters: JsonEdit) -> bytes:
        """See `Named.changed`."""
        return edited(self.text, parameters.edits())

    def _edit(self, outline: Outline) -> JsonEdit:
        from llama_swap.bodies.json_edit import JsonEdit

        return JsonEdit(outline, lambda start, end: self.text[start:end])


@define
class _SmallJson(_InMemory):
    """Small JSON, read by Python's decoder: only its model is known, not where members stand."""

    def renamed(self, model: str) -> bytes:
        """See `Named.renamed`."""
        return replace_model(self.text, model)

    def parameters(self) -> JsonEdit:
        """See `Named.parameters`."""
        from llama_swap.bodies.json_scan import outline_of

        return self._edit(outline_of(self.text))


@define
class _Read(_InMemory):
    """A body or query in which a reader has found the model between `start` and `end`."""

    _reader: BodyReader
    _start: int
    _end: int

    def renamed(self, model: str) -> bytes:
        """See `Named.renamed`."""
        return edited(self.text, [Edit(self._start, self._end, self._reader.spell(model))])

    def parameters(self) -> JsonEdit | None:
        """See `Named.parameters`."""
        outline = self._reader.outline()
        return None if outline is None else self._edit(outline)


@define
class _Spooled:
    """The same for a body in a spool."""

    model: str
    text: Spooled
    _spool: Spool
    _reader: BodyReader
    _start: int
    _end: int

    def renamed(self, model: str) -> Spooled:
        """See `Named.renamed`."""
        return evolve(self.text, edits=[Edit(self._start, self._end, self._reader.spell(model))])

    def parameters(self) -> JsonEdit | None:
        """See `Named.parameters`."""
        from llama_swap.bodies.json_edit import JsonEdit

        outline = self._reader.outline()
        return None if outline is None else JsonEdit(outline, self._spool.read)

    def changed(self, parameters: JsonEdit) -> Spooled:
        """See `Named.changed`."""
        return Spooled(self._spool, parameters.edits(), parameters.is_true("stream"))


class LargeBody:
    """A body that is read as it comes, and kept in a spool.  To twisted.web it is the `content` of the request."""

    def __init__(self, types: Types, *, names_model: bool) -> None:
        self._spool = Spool()
        self._reader: BodyReader | None = None
        self._refusal = ""  # why it is refused; the error itself would hold what came, and this, in a reference cycle
        if names_model:
            try:
                self._reader = _reader(types, JsonStream)
            except BadRequest as error:
                self._refusal = str(error)

    def write(self, data: bytes) -> None:
        """Take the next packet.

        @raise Unavailable: the spool cannot take it.
        """
        if self._reader is not None:
            try:
                self._reader.feed(data)
            except BadRequest as error:
                self._reader, self._refusal = None, str(error)
        if not self._refusal:
            self._spool.write(data)

    def read(self) -> Named[bytes | Body]:
        """Return what the body names, once all of it has come.

        @raise BadRequest: it does not name exactly one model, or not unambiguously.
        """
        if self._refusal:
            raise BadRequest(self._refusal)
        assert self._reader is not None, "this body is not for a model to be named in"
        reader = self._reader
        text = self._spool.in_memory()
        if text is not None:
            return _named(reader, text)
        start, end = reader.end()
        if end - start > LONGEST_NAME:
            raise BadRequest("invalid 'model': no model has a name that long")
        model = reader.decode(self._spool.read(start, end))
        named = _Spooled(model, Spooled(self._spool), self._spool, reader, start, end)
        parameters = named.parameters()
        return named if parameters is None else evolve(named, text=named.changed(parameters))

    def as_it_came(self) -> bytes | Body:
        """Return the body unchanged."""
        text = self._spool.in_memory()
        return Spooled(self._spool) if text is None else text

    # -- what twisted.web does with the content of a request --------------------------------------------------

    def seek(self, offset: int) -> None:
        """Do nothing: reading does not depend on a position."""

    def close(self) -> None:
        """The request is over."""
        self._spool.close()


LONGEST_NAME = 8 * 1024 * 1024
"""The most bytes of `model`, as spelled in a body that is not kept in memory."""


def _named(reader: BodyReader, text: bytes) -> Named[bytes]:
    """Return what `text` names, all of which was fed to `reader`."""
    start, end = reader.end()
    return _Read(reader.decode(text[start:end]), text, reader, start, end)


def _reader(types: Types, json_reader: Callable[[], BodyReader]) -> BodyReader:
    """Return the reader for a body with this Content-Type.

    @raise BadRequest: there is none.
    """
    if types is not None and len(types) > 1:
        raise BadRequest("more than one Content-Type; which one is meant cannot be known")
    media_type = types[0].partition(b";")[0].strip().lower() if types else b""
    if types and media_type.startswith(b"multipart/"):
        from llama_swap.bodies.multipart import MultipartReader

        return MultipartReader(types[0])
    if media_type == b"application/x-www-form-urlencoded":
        from llama_swap.bodies.urlencoded import UrlencodedReader

        return UrlencodedReader(json_reader)
    return json_reader()
