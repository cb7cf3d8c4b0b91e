"""A blocking HTTP client that sends what it is told and hides nothing: whole answers, streams, raw bytes."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from types import TracebackType
from typing import Any

from attrs import frozen

Body = bytes | Mapping[str, Any] | None


@frozen
class Answer:
    """A whole response."""

    status: int
    headers: Message
    body: bytes
    seconds: float

    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)

    def error(self) -> dict[str, Any]:
        """Return OpenAI's error object; AssertionError when the body is anything else."""
        kind = self.headers["Content-Type"]
        assert kind.startswith("application/json"), f"{self.status} {kind}: {self.body[:500]!r}"
        error: dict[str, Any] = self.json()["error"]
        assert set(error) >= {"message", "type", "param", "code"}, error
        assert error["message"], error
        return error


def send(
    port: int,
    method: str,
    target: str,
    body: Body = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Send a request on a connection of its own; a mapping goes as JSON, bytes as they are."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    content = json.dumps(body).encode() if isinstance(body, Mapping) else body
    kind = {} if content is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, target, content, {**kind, **(headers or {})})
        return connection, connection.getresponse()
    except BaseException:
        connection.close()
        raise


def ask(
    port: int,
    method: str,
    target: str,
    body: Body = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> Answer:
    """Return the whole answer."""
    began = time.monotonic()
    connection, response = send(port, method, target, body, headers, timeout)
    with response:
        content = response.read()
    connection.close()
    return Answer(response.status, response.headers, content, time.monotonic() - began)


class Stream:
    """A response that is read while it comes; leaving the `with` block hangs up."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers: Message = response.headers

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection, whatever is still to come."""
        self._response.close()
        self._connection.close()

    def lines(self) -> Iterator[tuple[float, bytes]]:
        """Return each line with the time (`time.time()`) of its arrival; raises one of CUT when it breaks."""
        # http.client's own readline takes a connection that breaks between two chunks for the end.
        rest = b""
        while received := self._response.read1(65536):
            *whole, rest = (rest + received).split(b"\n")
            for line in whole:
                yield time.time(), line.removesuffix(b"\r")
        if rest or self._response.length:
            raise http.client.IncompleteRead(rest, self._response.length)

    def events(self) -> Iterator[tuple[float, bytes]]:
        """Return the data of each server-sent event with the time of its arrival."""
        for arrived, line in self.lines():
            if line.startswith(b"data: "):
                yield arrived, line.removeprefix(b"data: ")
            else:
                assert line == b"", line


CUT = (http.client.IncompleteRead, ConnectionResetError)
"""What a reader gets whose answer ends before its end."""


def exchange(port: int, data: bytes, timeout: float = 10) -> bytes:
    """Send the bytes on a new connection and return all that comes back until the server closes it."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(data)
        while chunk := sock.recv(65536):
            received += chunk
    return received


def at_once(count: int) -> ThreadPoolExecutor:
    """Return an executor for so many clients side by side."""
    return ThreadPoolExecutor(count, thread_name_prefix="client")


def assert_each_at_once(stream: Stream) -> None:
    """Check that each event came before the next was made, of which a fake model makes four with pauses."""
    events = list(stream.events())[:-1]
    made = [json.loads(data)["t"] for _, data in events]
    for (arrived, _), next_made in zip(events[:3], made[1:], strict=False):
        assert arrived < next_made, f"an event was held back for {arrived - next_made} s or more"
