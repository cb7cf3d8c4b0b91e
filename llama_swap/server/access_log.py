"""The access log: a line for each request, when its answer is over."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request

from llama_swap.config.masking import masked_query
from llama_swap.errors import SwapError
from llama_swap.server.request import SwapRequest, host_of

SHOWN = 200
"""Bytes of an unreadable request that the access log shows."""


class AccessLog:
    """Writes the lines.  Of requests for paths that begin with one of `polled`, only failures get one."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, clock: IReactorTime, polled: tuple[bytes, ...]) -> None:
        self._clock = clock
        self._polled = polled

    def watch(self, request: SwapRequest) -> None:
        """Write a line about `request` when it is over, however it ends."""
        request.counts = True
        request.notifyFinish().addBoth(self._write, request, self._clock.seconds())

    def note_unreadable(self, client: IAddress, line: bytes, error: SwapError, size: int) -> None:
        """Write a line about bytes that were no request, beginning with `line`, and were answered with `error`."""
        self._log.info(
            '{client} "{line}" {status} {size} "-" 0.000 s',
            client=host_of(client) or "-",
            line=masked_query(_text(line[:SHOWN])),
            status=error.status,
            size=size,
        )

    def _write(self, _: object, request: Request, began: float) -> None:
        if request.code < 400 and request.path.startswith(self._polled):
            return
        self._log.info(
            '{client} "{method} {uri} {protocol}" {status} {size} "{agent}" {seconds:.3f} s',
            client=host_of(request.getClientAddress()) or "-",
            method=_text(request.method),
            uri=masked_query(_text(request.uri)),
            protocol=_text(request.clientproto),
            status=request.code if request.startedWriting else "-",
            size=request.sentLength,
            agent=_text(request.getHeader(b"user-agent") or b"-"),
            seconds=self._clock.seconds() - began,
        )


def _text(value: bytes) -> str:
    return value.decode("latin-1").encode("unicode_escape").decode().replace('"', r"\"")
