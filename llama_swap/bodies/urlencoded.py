"""Finds `model` in a query or an urlencoded form, or in JSON that is declared as a form, as curl does by default."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, unquote_to_bytes

from llama_swap.errors import BadRequest

if TYPE_CHECKING:
    from llama_swap.bodies.body_reader import BodyReader
    from llama_swap.bodies.json_outline import Outline

# Some parsers also separate fields with `;`: what only they would read as a field is found too, to be refused.
_NAME = rb"[&;]" + b"".join(rb"(?:%c|%%%x|%%%X)" % (char, char, char) for char in b"model")
_FIELD = re.compile(_NAME + rb"(?>(?:=([^&;]*+))?)(?=[&;])")
_OPEN_FIELD = re.compile(_NAME + rb"=")
_LONGEST_NAME = len("&%6d%6f%64%65%6c=")
_LONGEST_VALUE = 16 * 1024  # until its end has come, it is read again with each packet
_ODD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class UrlencodedReader:
    """See `llama_swap.bodies.body_reader.BodyReader`."""

    def __init__(self, json_reader: Callable[[], BodyReader] | None) -> None:
        self._json = json_reader and json_reader()  # None once the body has turned out not to be JSON
        self._is_blank = True
        self._fields: list[tuple[int, int]] = []
        self._cut = b"&"  # a field that is not complete; every field begins with a separator, even the first
        self._offset = -1

    def feed(self, data: bytes) -> None:
        """See `BodyReader.feed`."""
        if self._is_blank and (text := data.lstrip(b" \t\r\n")):
            self._is_blank = False
            if not text.startswith(b"{"):
                self._json = None
        if self._json is not None:
            self._json.feed(data)
        self._find_fields(self._cut + data)

    def end(self) -> tuple[int, int]:
        """See `BodyReader.end`."""
        self._find_fields(self._cut + b"&")
        if self._json is not None and not self._is_blank:
            if self._fields:
                raise BadRequest(
                    "the body has a 'model' both as JSON and as a form; send Content-Type: application/json"
                )
            return self._json.end()
        if len(self._fields) != 1:
            repeated = "more than one 'model'" if self._fields else "missing 'model'"
            raise BadRequest(f"{repeated}: the form or query must have one, with the name of a model")
        return self._fields[0]

    def outline(self) -> Outline | None:
        """See `BodyReader.outline`."""
        return self._json.outline() if self._json is not None else None

    def decode(self, spelled: bytes) -> str:
        """See `BodyReader.decode`."""
        if self._json is not None:
            return self._json.decode(spelled)
        try:
            model = unquote_to_bytes(spelled.replace(b"+", b" ")).decode()
        except UnicodeDecodeError:
            model = ""
        if not model or _ODD_ESCAPE.search(spelled):
            raise BadRequest("invalid 'model' field: it must be the name of a model, percent-encoded UTF-8")
        return model

    def spell(self, model: str) -> bytes:
        """See `BodyReader.spell`."""
        return self._json.spell(model) if self._json is not None else quote_plus(model).encode()

    def _find_fields(self, data: bytes) -> None:
        """Note all complete `model` fields in `data`, and keep the last field if it may become one."""
        for field in _FIELD.finditer(data):
            start, end = field.span(1) if field.group(1) is not None else (field.end(), field.end())
            if b";" in (data[field.start() : field.start() + 1], data[end : end + 1]):
                raise BadRequest(
                    "the form has a ';' beside its 'model' field, which not all servers read in the same way"
                )
            self._fields.append((self._offset + start, self._offset + end))
        last = max(data.rfind(b"&"), data.rfind(b";"))
        rest = len(data) - last
        if last < 0 or (rest > _LONGEST_NAME and not _OPEN_FIELD.match(data, last)):
            last = len(data)
        elif rest > _LONGEST_VALUE:
            raise BadRequest("invalid 'model' field: no model has a name that long")
        self._cut = data[last:]
        self._offset += last
