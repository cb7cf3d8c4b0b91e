"""Streams that say what they wait for: `sendLoadingState`.

A chat whose model is not ready is answered at once, with a stream that shows the progress of loading as the model's
reasoning.  The model's answer then follows in the same stream; so does an error, as an event.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from attrs import evolve
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web.http import Request

from llama_swap.bodies.spool import Spooled
from llama_swap.errors import Cancelled, SwapError, UpstreamError
from llama_swap.http.headers import AnswerHead, Body, OutboundFields, OutboundRequest
from llama_swap.relay.response import AnswerObserver, Relaying
from llama_swap.server.answers import begin_stream
from llama_swap.server.errors import describe

PATH: Final = b"/v1/chat/completions"
BEAT: Final = 0.75
"""Seconds between dots."""
_CHUNK: Final = "chat.completion.chunk"
_RULE: Final = "━" * 37
_SHOWN: Final = 4096
"""Bytes of a model's own error that are passed on."""


def wants_stream(uri: bytes, body: bytes | Body | None) -> bool:
    """Whether a request is a chat with a streamed answer."""
    if not uri.startswith(PATH) or body is None:
        return False
    if not isinstance(body, bytes):
        return isinstance(body, Spooled) and body.streams
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):  # bodies for /upstream are not checked
        return False
    return isinstance(asked, dict) and asked.get("stream") is True


class OpenStream:
    """An answer that begins before the model is ready."""

    def __init__(self, request: Request, clock: IReactorTime, model: str, position: int) -> None:
        """Begin to answer a request that waits for `model`; `position` is its place in the queue, from 1."""
        self._request: Any = request
        self._clock = clock
        self._began = clock.seconds()
        # All fields of OpenAI's chunks: some clients, such as @ai-sdk/openai, require them.
        self._chunk = {"id": "chatcmpl-loading", "object": _CHUNK, "created": int(time.time()), "model": model}
        begin_stream(request, b"text/event-stream")
        self._think(f"{_RULE}\nllama-swap loading model: {model}\n")
        if position > 1:
            self._think(f"Queue position: #{position}\n")
        self._beat = LoopingCall(self._think, ".")
        self._beat.clock = clock
        self._beat.start(BEAT, now=False)
        request.notifyFinish().addBoth(lambda _: self._stop())

    def loaded(self) -> None:
        """The model is ready."""
        self._stop()
        self._think(f"\nDone! ({self._clock.seconds() - self._began:.2f}s)\n{_RULE}\n\n")

    def fail(self, error: SwapError) -> None:
        """There will be no answer."""
        self._stop()
        self.write_error(error)
        self._request.finish()

    def write_error(self, error: SwapError) -> None:
        """Say what went wrong, as an event."""
        self._write({"error": describe(error)})

    def answerable(self, outbound: OutboundRequest) -> OutboundRequest:
        """Return the request without `Accept-Encoding`: a compressed answer would not fit into this stream."""
        kept = [(name, value) for name, value in outbound.fields.kept if name.lower() != b"accept-encoding"]
        return evolve(outbound, fields=OutboundFields(kept))

    def sink(self, request: Request, relaying: Relaying, observer: AnswerObserver) -> StreamedInto:
        """Return the sink that writes the model's answer into this stream; the arguments are `ResponseRelay`'s."""
        return StreamedInto(self, request, relaying, observer)

    def _think(self, text: str) -> None:
        choice = {"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}
        self._write({**self._chunk, "choices": [choice]})

    def _write(self, data: object) -> None:
        self._request.write(b"data: %b\n\n" % json.dumps(data).encode())

    def _stop(self) -> None:
        if self._beat.running:
            self._beat.stop()


class StreamedInto:
    """An `AnswerSink` for an answer whose head was sent already."""

    takes_chunks = False
    """The body comes without its chunk framing, since twisted.web adds its own."""

    def __init__(self, stream: OpenStream, request: Any, relaying: Relaying, observer: AnswerObserver) -> None:
        self._stream = stream
        self._request = request
        self._relaying = relaying
        self._observer = observer
        self._status = 0
        self._refusal = b""
        self._passed_on = False

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        """See `AnswerSink.begin`."""
        self._status = head.status
        self._observer.begin(head.status, head.fields, chunked=False)
        self._request.registerProducer(producer, True)

    def data(self, data: bytes) -> None:
        """See `AnswerSink.data`."""
        self._observer.data(data)
        if self._status == 200:
            self._passed_on = True
            self._request.write(data)
        elif len(self._refusal) < _SHOWN:
            self._refusal += data

    def flush(self) -> None:
        """See `AnswerSink.flush`."""

    def end(self) -> None:
        """See `AnswerSink.end`."""
        if self._status != 200:
            said = self._refusal[:_SHOWN].decode(errors="replace")
            self._stream.write_error(UpstreamError(f"the model answered with status {self._status}: {said}"))
        self._relaying.finished(None)
        self._leave()
        self._request.finish()

    def broken(self, error: SwapError) -> None:
        """See `AnswerSink.broken`.  An answer that had begun must not look whole."""
        self._relaying.finished(error)
        self._leave()
        self._relaying.failed(self._request, error, self._passed_on)
        if self._passed_on:
            if not isinstance(error, Cancelled):
                error = UpstreamError(f"the model's answer broke off: {error}")
            self._stream.write_error(error)
            self._request.loseConnection()

    def _leave(self) -> None:
        if self._status:
            self._request.unregisterProducer()
