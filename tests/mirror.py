"""A model server that tells what it got, byte for byte, and answers with as many bytes as it is asked for.

Request and answer are made of slices of the same pool, which a test can make too.  The header `X-Answer` of a request,
`OFFSET SIZE FRAMING SEED`, says which slice the answer is to be, how its end is to show (`length`, `chunked`, `close`),
and in what pieces it is to be written.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import signal
import socket
import threading

from fakellm_http import ClientGoneError, Connection, Request

POOL = random.Random(0).randbytes(8 * 1024 * 1024)


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    signal.alarm(7200)
    listener = socket.create_server(("127.0.0.1", parser.parse_args().port), backlog=256)
    while True:
        connection = Connection(listener.accept()[0], hangs_up=False)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection: Connection) -> None:
    """Answer one client until it leaves."""
    try:
        while request := connection.request():
            asked = request.headers.get("x-answer", "")
            if not asked:
                connection.answer(200, b"{}")
            elif not answer(connection, request, asked):
                break
    except (ClientGoneError, OSError):
        pass
    finally:
        connection.close()


def answer(connection: Connection, request: Request, asked: str) -> bool:
    """Answer as it is asked for; return whether the connection stays open."""
    offset, size, framing, seed = asked.split()
    body, rng = POOL[int(offset) : int(offset) + int(size)], random.Random(int(seed))
    head = ["HTTP/1.1 200 OK", f"X-Got: {hashlib.sha1(request.body).hexdigest()}"]
    head += [f"X-Framing: {name}={request.headers[name]}" for name in FRAMING if name in request.headers]
    head += {"length": [f"Content-Length: {size}"], "chunked": ["Transfer-Encoding: chunked"], "close": []}[framing]
    connection.send("\r\n".join([*head, "", ""]).encode())
    for piece in pieces(body, rng):
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
    if framing == "chunked":
        connection.send(b"0\r\n\r\n")
    return framing != "close"


FRAMING = ("content-length", "transfer-encoding")


def pieces(body: bytes, rng: random.Random) -> list[bytes]:
    """Cut a body at random places, few or many of them."""
    places = sorted(rng.randrange(len(body)) for _ in range(rng.choice((0, 1, 3, 20)))) if body else []
    cuts = [0, *places, len(body)]
    return [body[start:end] for start, end in itertools.pairwise(cuts) if start < end]


if __name__ == "__main__":
    main()
