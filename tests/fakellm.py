"""A model server that misbehaves on demand: the upstream of the black-box tests.

It needs the standard library only and listens within some tens of milliseconds: a test may start hundreds.
What happened is appended to a journal, one JSON object `{t, pid, model, ev, …}` a line, `ev` being one of

    start, bind, probe, req, client_gone, term, exit

`t` is `time.time()`; `probe` and `req` add `method` and `path` (the raw target), `req` also `told` (the
`model` in the body), `exit` the `status`.  A line is one write in append mode: processes share a journal.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable

from fakellm_http import REPLIES, ClientGoneError, Connection, Request, encoded, streamed

STOPS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Be the server that the command line describes."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    FakeLLM(knobs_of(sys.argv[1:])).run()


def knobs_of(argv: list[str]) -> argparse.Namespace:
    """Read the command line; what llama-server knows and this does not is passed over."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    knob = parser.add_argument
    knob("--port", type=int, required=True)
    knob("--model", "-m", default="fake", help="the name in the journal and in answers")
    knob("--journal", default=os.environ.get("FAKELLM_JOURNAL"))
    knob("--lock", help="a file kept locked until the process is really gone; exit 9 if it is locked already")
    knob("--load-delay", type=float, default=0.0, metavar="S", help="seconds before it listens")
    knob("--exit-after", type=float, metavar="S", help="leave by itself, whatever is going on")
    knob("--exit-code", type=int, default=1, help="for --exit-after and --die-mid-stream")
    knob("--term-delay", type=float, default=0.0, metavar="S", help="serve on for so long after SIGTERM")
    knob("--ignore-term", action="store_true")
    knob("--fork-grandchild", nargs="?", const="stubborn", choices=["stubborn", "polite"])
    knob("--setsid-grandchild", action="store_true", help="a stubborn one in its own session, holding stdout")
    knob("--health", type=statuses, default=[200], metavar="503*N,200")
    knob("--health-path", action="append", default=["/health"])
    knob(
        "--health-hang",
        nargs="?",
        const=1,
        default=0,
        type=int,
        metavar="N",
        help="the first N get no answer",
    )
    knob(
        "--stream",
        type=stream_shape,
        default=(3, 0.0),
        metavar="N@MS",
        help="events, and the pause between two",
    )
    knob("--first-byte-delay", type=float, default=0.0, metavar="S")
    knob("--die-mid-stream", action="store_true", help="exit after half of the events")
    knob("--close-after-each", action="store_true", help="close the connection unannounced after each answer")
    knob("--hold", action="store_true", help="take requests, never answer them (probes are answered)")
    knob("--echo", action="store_true", help="answer with the raw bytes of the request, as JSON")
    knob("--no-upgrade", action="store_true", help="answer in HTTP whatever a client would like to change to")
    knob("--raw", metavar="FILE", help="answer with these bytes, then close")
    knob("--log-rate", type=float, metavar="MB/S")
    knob("--lifetime", type=int, default=900, metavar="S", help="a broken test leaves it behind no longer")
    return parser.parse_known_args(argv)[0]


def stream_shape(text: str) -> tuple[int, float]:
    """Read `N@MS` as events and seconds between two of them."""
    events, _, pause = text.partition("@")
    return int(events), float(pause or 0) / 1000


def statuses(text: str) -> list[int]:
    """Read `503*3,200` as [503, 503, 503, 200]; the last one is repeated for ever."""
    answers: list[int] = []
    for part in text.split(","):
        status, _, times = part.partition("*")
        answers += [int(status)] * int(times or 1)
    return answers


class FakeLLM:
    """The process: accepting in the main thread, signals in another, one more for each connection."""

    def __init__(self, knobs: argparse.Namespace) -> None:
        self._knobs = knobs
        self._probes_unanswered = knobs.health_hang
        self._journal = -1
        self._device = -1
        if knobs.journal:
            self._journal = os.open(knobs.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def run(self) -> None:
        """Load, then serve until a signal or a knob ends it."""
        knobs = self._knobs
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        signal.alarm(knobs.lifetime)
        self._note("start")
        say(f"build: 0 (fakellm), pid {os.getpid()}: loading model '{knobs.model}'")
        self._lock_device()
        if knobs.fork_grandchild:
            self._fork(stubborn=knobs.fork_grandchild == "stubborn", own_session=False)
        if knobs.setsid_grandchild:
            self._fork(stubborn=True, own_session=True)
        later(0, self._obey)
        if knobs.exit_after is not None:
            later(knobs.exit_after, self._fail)
        if knobs.log_rate:
            later(0, self._chatter)
        time.sleep(knobs.load_delay)
        self._listen()

    def _note(self, ev: str, **more: object) -> None:
        line = {"t": time.time(), "pid": os.getpid(), "model": self._knobs.model, "ev": ev, **more}
        if self._journal >= 0:
            os.write(self._journal, json.dumps(line).encode() + b"\n")

    def _leave(self, status: int) -> None:
        self._note("exit", status=status)
        os._exit(status)

    def _fail(self) -> None:
        say("error: cudaMalloc failed: out of memory", "error: failed to load the model, exiting")
        self._leave(self._knobs.exit_code)

    def _obey(self) -> None:
        """Wait for SIGTERM.  A signal handler would not do: one that comes just before accept() waits for a client."""
        while signal.sigwait(STOPS):
            self._note("term")
            if not self._knobs.ignore_term:
                time.sleep(self._knobs.term_delay)
                self._leave(0)

    def _lock_device(self) -> None:
        if not self._knobs.lock:
            return
        self._device = os.open(self._knobs.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(self._device, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"error: device {self._knobs.lock} is busy")
            self._leave(9)

    def _fork(self, *, stubborn: bool, own_session: bool) -> None:
        if os.fork():
            return
        signal.alarm(self._knobs.lifetime)
        self._knobs.model += "+grandchild"
        self._knobs.ignore_term, self._knobs.term_delay = stubborn, 0
        if self._device >= 0:
            os.close(self._device)
        if own_session:
            os.setsid()
        self._note("start")
        self._obey()

    def _chatter(self) -> None:
        line = b"x" * 99 + b"\n"
        burst = line * max(1, int(self._knobs.log_rate * 10_000 / len(line)))
        while True:
            os.write(1, burst)
            time.sleep(0.01)

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._knobs.port))
        except OSError as error:
            say(f"couldn't bind to port {self._knobs.port}: {error.strerror}")
            self._leave(1)
        listener.listen(1024)
        self._note("bind")
        say(f"main: server is listening on http://127.0.0.1:{self._knobs.port}")
        closes = self._knobs.close_after_each
        while True:
            later(0, self._talk, Connection(listener.accept()[0], hangs_up=closes))

    def _talk(self, connection: Connection) -> None:
        closes = self._knobs.close_after_each or self._knobs.raw
        try:
            while request := connection.request():
                self._serve(connection, request)
                if closes or not request.keeps_open:
                    break
        except (ClientGoneError, OSError):
            self._note("client_gone")
        finally:
            connection.close()

    def _serve(self, connection: Connection, request: Request) -> None:
        seen = {"method": request.method, "path": request.target}
        if request.path in self._knobs.health_path:
            self._note("probe", **seen)
            self._answer_probe(connection)
            return
        self._note("req", **seen, told=request.asked().get("model"))
        if self._knobs.hold:
            connection.wait(None)
        connection.wait(self._knobs.first_byte_delay)
        self._print_timings(request)
        self._answer(connection, request)

    def _answer_probe(self, connection: Connection) -> None:
        if self._probes_unanswered:
            self._probes_unanswered -= 1
            connection.wait(None)
        status = self._knobs.health[0] if len(self._knobs.health) == 1 else self._knobs.health.pop(0)
        connection.answer(status, encoded(status="ok" if status == 200 else "loading model"))

    def _answer(self, connection: Connection, request: Request) -> None:
        knobs, path, asked = self._knobs, request.path, request.asked()
        model = str(asked.get("model", knobs.model))
        whose = {"served_by": knobs.model, "pid": os.getpid()}
        if "upgrade" in request.headers and not knobs.no_upgrade:
            connection.upgrade(request.headers.get("sec-websocket-key", ""))
        elif knobs.raw:
            connection.send_file(knobs.raw)
        elif knobs.echo:
            connection.answer(200, encoded(**whose, request=request.raw.decode("latin-1")))
        elif path.endswith("/completions") and asked.get("stream"):
            self._stream(connection, model, chat="chat" in path)
        elif path == "/v1/audio/speech":
            connection.answer(200, b"ID3 speech of " + model.encode(), "audio/mpeg")
        elif path in REPLIES:
            size = {"body_bytes": len(request.body), "body_crc32": zlib.crc32(request.body)}
            connection.answer(200, encoded(**REPLIES[path], model=model, **whose, **size))
        elif path == "/v1/models":
            connection.answer(200, encoded(object="list", data=[{"id": knobs.model, "object": "model"}]))
        else:
            connection.answer(404, encoded(**whose, method=request.method, target=request.target))

    def _stream(self, connection: Connection, model: str, *, chat: bool) -> None:
        events, pause = self._knobs.stream
        connection.open_stream()
        for number in range(events):
            if number:
                connection.wait(pause)
            if self._knobs.die_mid_stream and number >= events / 2:
                say("error: CUDA error: an illegal memory access was encountered")
                self._leave(self._knobs.exit_code)
            connection.send_event(streamed(model, number, chat=chat))
        connection.send_event(streamed(model, events, chat=chat, last=True))
        connection.end_stream()

    def _print_timings(self, request: Request) -> None:
        """Print before the answer, so that whoever has the answer finds the lines in the log."""
        events = self._knobs.stream[0]
        say(
            "prompt eval time =      12.34 ms /     5 tokens (2.47 ms per token, 405.19 tokens/s)",
            f"       eval time =      30.00 ms / {events:5d} tokens (10.00 ms per token, 100.00 tokens/s)",
            f"srv  log_server_r: request: {request.method} {request.path} 127.0.0.1 200",
        )


def later(seconds: float, what: Callable[..., None], *args: object) -> None:
    """Call `what` in a thread of its own that keeps nobody alive."""

    def run() -> None:
        time.sleep(seconds)
        what(*args)

    threading.Thread(target=run, daemon=True).start()


def say(*lines: str) -> None:
    """Print in one piece; a pipe that nobody holds any more is no reason to die."""
    try:
        os.write(1, "".join(f"{line}\n" for line in lines).encode())
    except OSError:
        return


if __name__ == "__main__":
    main()
