"""Reads `model` from a JSON body, and writes another one in its place.

A body is one valid JSON text (RFC 8259) in UTF-8 with exactly one `model`, or it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from json.scanner import make_scanner
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llama_swap.bodies.json_grammar import refuse_constant
from llama_swap.errors import BadRequest

if TYPE_CHECKING:
    from llama_swap.bodies.json_outline import Outline

T = TypeVar("T")

_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")


def read_model(body: bytes) -> str:
    """Return the top-level `model` of a JSON object.

    @raise BadRequest: the body is no JSON object, or has no `model`, more than one, or one that is no string.
    """
    return _judged(_only([value for key, value in _members(body) if key == "model"]))


def replace_model(body: bytes, model: str) -> bytes:
    """Return `body`, which `read_model` accepted, with another `model`; every other byte stays."""
    start, end = _model_span(body)
    return b"".join([body[:start], json.dumps(model).encode(), body[end:]])


class JsonReader:
    """What both ways of reading have in common; see `llama_swap.bodies.body_reader.BodyReader`."""

    def decode(self, spelled: bytes) -> str:
        """See `BodyReader.decode`."""
        return _judged(json.loads(spelled))

    def spell(self, model: str) -> bytes:
        """See `BodyReader.spell`."""
        return json.dumps(model).encode()


class WholeJson(JsonReader):
    """Finds `model` in a small body with Python's decoder, which is fastest there."""

    def __init__(self) -> None:
        self._body = b""

    def feed(self, data: bytes) -> None:
        """See `BodyReader.feed`."""
        self._body += data

    def end(self) -> tuple[int, int]:
        """See `BodyReader.end`."""
        read_model(self._body)
        return _model_span(self._body)

    def outline(self) -> Outline:
        """See `BodyReader.outline`."""
        from llama_swap.bodies.json_scan import outline_of

        return outline_of(self._body)


class JsonStream(JsonReader):
    """Finds `model` in a body of any size, packet by packet."""

    def __init__(self) -> None:
        from llama_swap.bodies.json_scan import JsonScan

        self._scan = JsonScan()
        self._outline: Outline

    def feed(self, data: bytes) -> None:
        """See `BodyReader.feed`."""
        self._scan.feed(data)

    def end(self) -> tuple[int, int]:
        """See `BodyReader.end`."""
        self._outline = self._scan.end()
        member = _only([member for member in self._outline.members if member.key == "model"])
        return member.value, member.end

    def outline(self) -> Outline:
        """See `BodyReader.outline`."""
        return self._outline


def _only(models: Sequence[T]) -> T:
    if not models:
        raise BadRequest("missing or invalid 'model' key: the body must have one, with the name of a model")
    if len(models) > 1:
        raise BadRequest("the body has more than one 'model' key; which one is meant cannot be known")
    return models[0]


def _judged(model: object) -> str:
    if not isinstance(model, str) or not model:
        raise BadRequest("missing or invalid 'model' key: it must be a string, the name of a model")
    if not model.isascii():
        try:
            model.encode()
        except UnicodeEncodeError:  # a lone surrogate: JSON can spell it (RFC 8259 §8.2), UTF-8 cannot
            raise BadRequest("missing or invalid 'model' key: \\ud800 and its like are half a character each") from None
    return model


class _Members(list[tuple[str, Any]]):
    """The members of an object, repeated ones included, which a dict would lose."""


# Numbers are not needed, and Python refuses to read very long ones.
_DECODER = json.JSONDecoder(object_pairs_hook=_Members, parse_int=len, parse_constant=refuse_constant)
_scan = make_scanner(cast(Any, _DECODER))  # what the decoder uses; typeshed has its type wrong


def _members(body: bytes) -> _Members:
    """Return the members of the outermost object."""
    try:
        text = body.decode("utf-8")
        outermost, end = _scan(text, 0) if text.startswith("{") else (None, -1)
        if end != len(text):  # which costs as much again, but says what is wrong, if anything is
            outermost = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise BadRequest(f"invalid JSON: the body is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise BadRequest("invalid JSON: the body is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"invalid JSON: {error}") from None
    except StopIteration as error:  # so the scanner says where it finds no value
        raise BadRequest(f"invalid JSON: {json.JSONDecodeError('Expecting value', text, error.value)}") from None
    if not isinstance(outermost, _Members):
        raise BadRequest('invalid JSON: the body must be an object, such as {"model": …}')
    return outermost


def _model_span(body: bytes) -> tuple[int, int]:
    """Return where the value of the outermost `model` stands, quotes included."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(body):
        text = token.group()
        if text in b"{[":
            depth += 1
        elif text in b"}]":
            depth -= 1
        elif depth == 1 and (colon := _COLON.match(body, token.end())) and json.loads(text) == "model":
            value = _STRING_OR_BRACKET.match(body, colon.end())
            assert value is not None, "read_model saw a string there"
            return value.span()
    raise AssertionError("read_model saw a model")
