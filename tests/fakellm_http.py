"""The HTTP side of `fakellm`: reads requests, notices that the client left, answers as llama-server does."""

from __future__ import annotations

import base64
import json
import select
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ASSISTANT = {"role": "assistant", "content": "Hello!"}
REPLIES: Mapping[str, Mapping[str, object]] = {
    "/v1/chat/completions": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!"}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    },
    "/v1/completions": {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "choices": [{"index": 0, "finish_reason": "stop", "text": "Hello!", "logprobs": None}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    },
    "/v1/embeddings": {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.75]}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    },
    "/v1/audio/transcriptions": {"text": "Hello!"},
    "/v1/rerank": {"results": [{"index": 0, "relevance_score": 0.9}]},
}


class ClientGoneError(Exception):
    """The client has closed its connection."""


class Request(NamedTuple):
    """What a client asks for, taken apart and as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes
    keeps_open: bool

    @property
    def path(self) -> str:
        return self.target.split("?")[0]

    def asked(self) -> Mapping[str, object]:
        """Return the fields of the JSON object in the body; none when it is something else."""
        try:
            fields = json.loads(self.body)
        except ValueError:
            return {}
        return fields if isinstance(fields, dict) else {}


class Connection:
    """One client's socket; every wait raises ClientGoneError as soon as the client leaves."""

    def __init__(self, sock: socket.socket, *, hangs_up: bool) -> None:
        self._sock = sock
        self._hangs_up = hangs_up
        self._buffer = bytearray()
        self._hangup = select.poll()
        self._hangup.register(sock, select.POLLRDHUP)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _receive(self) -> None:
        chunk = self._sock.recv(1 << 18)
        if not chunk:
            raise ClientGoneError
        self._buffer += chunk

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._receive()
        return self._take(self._buffer.index(mark) + len(mark))

    def request(self) -> Request | None:
        """Return the next request, or None when the client leaves between two of them."""
        try:
            head = self._until(b"\r\n\r\n")
        except (ClientGoneError, OSError):
            return None
        first, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, version = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        raw, body = self._body(headers)
        closing = version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        return Request(method, target, headers, body, head + raw, not closing)

    def _body(self, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Return the body as it came and without its framing."""
        if "chunked" not in headers.get("transfer-encoding", ""):
            raw = self._take(int(headers.get("content-length", 0)))
            return raw, raw
        framed, content, size = bytearray(), bytearray(), -1
        while size != 0:
            line = self._until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            chunk = self._take(size + 2)
            framed += line + chunk
            content += chunk[:size]
        return bytes(framed), bytes(content)

    def wait(self, seconds: float | None) -> None:
        """Let the time pass (None: for ever)."""
        if self._hangup.poll(None if seconds is None else seconds * 1000):
            raise ClientGoneError

    def send(self, data: bytes) -> None:
        """Write all of it, as slowly as the client reads."""
        self._sock.sendall(data)

    def send_file(self, path: str) -> None:
        """Write all of a file, likewise."""
        with Path(path).open("rb") as file:
            self._sock.sendfile(file)

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Send a whole answer with its length."""
        if self._hangs_up:
            # The answer waits for close(), so that its last byte and the end arrive together, on any machine.
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        head = f"HTTP/1.1 {status} As Wanted\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def open_stream(self) -> None:
        """Send the head of a stream of events."""
        self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )

    def send_event(self, data: bytes) -> None:
        """Send one event as a chunk of its own."""
        event = b"data: " + data + b"\n\n"
        self.send(b"%x\r\n%s\r\n" % (len(event), event))

    def end_stream(self) -> None:
        """End as OpenAI's streams do, and end the chunks."""
        self.send_event(b"[DONE]")
        self.send(b"0\r\n\r\n")

    def upgrade(self, key: str) -> None:
        """Switch protocols (RFC 6455, 4.2.2), then send every byte back until the client leaves."""
        import hashlib

        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        while True:
            if not self._buffer:
                self._receive()
            self.send(self._take(len(self._buffer)))

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()


def encoded(**fields: object) -> bytes:
    """Return the fields as a JSON object."""
    return json.dumps(fields).encode()


def streamed(model: str, number: int, *, chat: bool, last: bool = False) -> bytes:
    """Return the JSON of one event; `t` is the time of its making."""
    text = "" if last else f"word{number} "
    said = {"delta": {"content": text}} if chat else {"text": text}
    choice = {"index": 0, **said, "finish_reason": "stop" if last else None}
    kind = "chat.completion.chunk" if chat else "text_completion"
    return encoded(id="stream-1", object=kind, created=1, model=model, t=time.time(), choices=[choice])
