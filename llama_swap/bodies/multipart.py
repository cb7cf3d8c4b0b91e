"""Finds `model` in a multipart form (RFC 7578, RFC 2046 §5.1), wherever it stands among the files.

Servers read malformed forms differently, and which model is routed must not depend on that: so a form that can be read
in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NoReturn
from urllib.parse import unquote_to_bytes

from llama_swap.errors import BadRequest
from llama_swap.http.syntax import TOKEN

MAX_PARTS: Final = 1000
MAX_HEAD: Final = 16 * 1024
"""The most bytes in the head of one part."""

_TOKEN = TOKEN.encode()
_PARAMETER = re.compile(
    rb'[ \t]*;[ \t]*(%b)=(?:"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"|(%b))[ \t]*' % (_TOKEN, _TOKEN)
)
_FIELD = re.compile(rb"(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)" % _TOKEN)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_AS_IT_IS = (b"7bit", b"8bit", b"binary")
_TEXT = re.compile(rb"text/plain(?:[ \t]*;[ \t]*charset=\"?(?:utf-8|us-ascii)\"?)?[ \t]*", re.IGNORECASE)


class MultipartReader:
    """See `llama_swap.bodies.body_reader.BodyReader`."""

    def __init__(self, content_type: bytes) -> None:
        self._dashes = b"--" + _boundary(content_type)
        self._step: Callable[[bytes, int], int] = self._begin
        self._cut = b""  # what must be looked at again with the next packet
        self._offset = 0  # of what is looked at, in the whole body
        self._parts = 0
        self._content = 0  # where the content of the current part begins, in the whole body
        self._is_model = False
        self._models: list[tuple[int, int]] = []

    def feed(self, data: bytes) -> None:
        """See `BodyReader.feed`."""
        data = self._cut + data
        position, step = 0, None
        while step != self._step:
            step = self._step
            position = step(data, position)
        self._cut = data[position:]
        self._offset += position

    def end(self) -> tuple[int, int]:
        """See `BodyReader.end`."""
        if self._step != self._finish or self._cut == b"\r":
            _refuse("it ends too early")
        if len(self._models) != 1:
            repeated = "more than one 'model'" if self._models else "missing 'model'"
            raise BadRequest(f"{repeated}: the form must have one such field, with the name of a model")
        return self._models[0]

    def outline(self) -> None:
        """See `BodyReader.outline`."""

    def decode(self, spelled: bytes) -> str:
        """See `BodyReader.decode`."""
        try:
            model = spelled.decode()
        except UnicodeDecodeError:
            model = ""
        if not model:
            raise BadRequest("invalid 'model' field: it must be the name of a model, in UTF-8")
        return model

    def spell(self, model: str) -> bytes:
        """See `BodyReader.spell`."""
        return model.encode()

    # -- steps: each is given a position, and returns where the next step begins, or where it must go on itself --------

    def _begin(self, data: bytes, position: int) -> int:
        for opening in (self._dashes, b"\r\n" + self._dashes):
            if data.startswith(opening):
                self._step = self._go_on
                return len(opening)
            if opening.startswith(data):
                return position
        return _refuse("it does not begin with its boundary")

    def _go_on(self, data: bytes, position: int) -> int:
        """After a boundary."""
        following = data[position : position + 2]
        if following == b"\r\n":
            self._step = self._read_head
        elif following == b"--":
            self._step = self._finish
        elif len(following) < 2:
            return position
        else:
            _refuse(f"something follows the boundary at byte {self._offset + position}")
        return position + 2

    def _read_head(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n\r\n", position)
        if max(end, len(data) if end < 0 else 0) - position > MAX_HEAD:
            _refuse(f"the head of a part exceeds {MAX_HEAD} bytes")
        if end < 0:
            return position
        self._parts += 1
        if self._parts > MAX_PARTS:
            _refuse(f"it has more than {MAX_PARTS} parts")
        lines = data[position:end].split(b"\r\n")
        if any(line.startswith(self._dashes) for line in lines):
            _refuse("a boundary stands in the head of a part")
        self._is_model = _is_model(lines)
        self._step = self._read_content
        self._content = self._offset + end + 4
        return end + 4

    def _read_content(self, data: bytes, position: int) -> int:
        while (found := data.find(self._dashes, position)) >= 0 and not self._ends_content(data, found):
            position = found + 1
        if found < 0:
            # The last bytes may be the beginning of a boundary, and the two before it decide whether it is one.
            return max(position, len(data) - len(self._dashes) - 1)
        if self._is_model:
            self._models.append((self._content, self._offset + found - 2))
        self._step = self._go_on
        return found + len(self._dashes)

    def _ends_content(self, data: bytes, found: int) -> bool:
        """Whether the boundary at `found` ends the content: it does after a CRLF, but not inside a line.

        If `found` is 0, the byte before it began such a boundary inside a line.
        """
        length = self._offset + found - self._content
        if length >= 2 and data[found - 2 : found] == b"\r\n":
            return True
        if length == 0 or (found and data[found - 1] in b"\r\n"):
            _refuse(f"the boundary at byte {self._offset + found} does not follow a CRLF of its own")
        return False

    def _finish(self, data: bytes, position: int) -> int:
        """After the last boundary."""
        if not b"\r\n".startswith(data[position:]):
            _refuse("something follows its end")
        return position


def _boundary(content_type: bytes) -> bytes:
    media_type, semicolon, rest = content_type.partition(b";")
    if media_type.strip().lower() != b"multipart/form-data":
        raise BadRequest("of multipart bodies, only multipart/form-data can be read")
    boundary = _parameters(semicolon + rest).get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("the Content-Type of a multipart body must have a boundary, of 1 to 70 characters")
    return boundary


def _is_model(lines: list[bytes]) -> bool:
    """Return whether a part with these header lines is the `model` field."""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            _refuse("the head of a part is malformed")
        name = match.group(1).lower()
        if name in fields:
            _refuse(f"a part has more than one {name.decode()}")
        fields[name] = match.group(2)
    disposition, semicolon, rest = fields.get(b"content-disposition", b"").partition(b";")
    parameters = _parameters(semicolon + rest)
    name = parameters.get(b"name", b"")
    if disposition.strip().lower() != b"form-data" or not name:
        _refuse("a part has no Content-Disposition: form-data with a name")
    if any(parameter.startswith(b"name*") for parameter in parameters):
        _refuse("a part has its name in a form that not all servers read")
    if name != b"model":
        if name.startswith(b"=?") or _plain(name) == b"model":
            _refuse("a part has a name that some servers would read as 'model'")
        return False
    if any(parameter.startswith(b"filename") for parameter in parameters):
        _refuse("'model' must be a field, not a file")
    coding, kind = fields.get(b"content-transfer-encoding", b"8bit"), fields.get(b"content-type", b"text/plain")
    if coding.strip().lower() not in _AS_IT_IS or not _TEXT.fullmatch(kind):
        _refuse("'model' must be plain text in UTF-8")
    return True


def _parameters(text: bytes) -> dict[bytes, bytes]:
    """Read `; name=value; …`; quoted values are returned without their quotes, but not unescaped."""
    parameters: dict[bytes, bytes] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            _refuse("a parameter is malformed")
        name, quoted, token = match.groups()
        if name.lower() in parameters:
            _refuse(f"the parameter {name.decode()} is given more than once")
        parameters[name.lower()] = token if quoted is None else quoted
        position = match.end()
    return parameters


def _plain(name: bytes) -> bytes:
    """Return a name without everything that some parser may remove or decode."""
    return unquote_to_bytes(name.replace(b"\\", b"")).strip(b" \t\"'\0")


def _refuse(why: str) -> NoReturn:
    raise BadRequest(f"invalid multipart body: {why}")
