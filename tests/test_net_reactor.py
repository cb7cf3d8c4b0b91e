"""The reactor that the proxy runs on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.net.reactor import DirectReactor


class Pipe:
    """The reading end of a pipe."""

    def __init__(self, reactor: DirectReactor) -> None:
        self.reactor = reactor
        self.reading, self.writing = os.pipe()
        self.read: list[bytes] = []
        self.lost: list[Failure] = []

    def fileno(self) -> int:
        """Return what epoll knows it by."""
        return self.reading

    def logPrefix(self) -> str:
        """Return what Twisted wants to know."""
        return "pipe"

    def doRead(self) -> Any:
        """Read."""
        self.read.append(os.read(self.reading, 100))
        return None

    def connectionLost(self, reason: Failure) -> None:
        """It is over."""
        self.lost.append(reason)

    def close(self) -> None:
        """Leave the reactor."""
        self.reactor.removeReader(self)
        os.close(self.reading)


class Rude(Pipe):
    """Cannot read, and cannot take that it ended."""

    def doRead(self) -> Any:
        """Fail."""
        raise ZeroDivisionError

    def connectionLost(self, reason: Failure) -> None:
        """Fail as well."""
        super().connectionLost(reason)
        raise ZeroDivisionError


class DirectReactorTests(SynchronousTestCase):
    """One turn of the loop, with real descriptors."""

    def setUp(self) -> None:
        """Make a reactor that nobody else knows."""
        self.reactor = DirectReactor()
        self.addCleanup(self.reactor._poller.close)

    def pipe(self, kind: type[Pipe] = Pipe) -> Pipe:
        """Return a pipe with something to read."""
        pipe = kind(self.reactor)
        self.reactor.addReader(pipe)
        self.addCleanup(pipe.close)
        os.write(pipe.writing, b"hello")
        return pipe

    def test_event(self) -> None:
        """What can be read is read; what ended is told so, and not asked again."""
        pipe = self.pipe()
        self.reactor.doIteration(10)
        self.assertEqual(pipe.read, [b"hello"])
        os.close(pipe.writing)
        self.reactor.doIteration(10)
        self.assertEqual([reason.type for reason in pipe.lost], [ConnectionDone])
        self.reactor.doIteration(0)
        self.assertEqual((len(pipe.read), len(pipe.lost)), (1, 1))

    def test_others_go_on(self) -> None:
        """Whatever one connection does wrong, even while it ends, is logged, and the others have their turn."""
        rude, polite = self.pipe(Rude), self.pipe()
        self.reactor.doIteration(10)
        self.reactor.doIteration(0)
        self.assertEqual((polite.read, len(rude.lost)), ([b"hello"], 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_any_error(self) -> None:
        """Not even what is meant to end a program leaves a connection open of which nobody takes care."""

        def leave() -> None:
            raise SystemExit

        pipe = self.pipe()
        self.patch(pipe, "doRead", leave)
        self.reactor.doIteration(10)
        self.assertEqual([reason.type for reason in pipe.lost], [SystemExit])
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_what_came_before_a_reset(self) -> None:
        """Where sending fails because the other end is gone, what it had said before is still read."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            ours = socket.create_connection(server.getsockname())
            theirs, _ = server.accept()
        ours.setblocking(False)
        said: list[bytes] = []
        protocol = Protocol()
        protocol.dataReceived = said.append  # type: ignore[method-assign]
        transport = Connection(ours, protocol, self.reactor)
        transport.connected = 1
        transport.dataBuffer = b"unheard"
        ours.send(b"unread")
        theirs.send(b"no")
        theirs.close()  # which resets the connection, because of what was not read
        transport.startWriting()
        self.reactor.doIteration(10)
        self.assertEqual((said, transport.connected), ([b"no"], 0))

    def started(self) -> None:
        """Make it a reactor that runs, without the signals and threads of a real start."""
        self.reactor._started = self.reactor.running = True
        self.reactor._justStopped = False

    def test_timers(self) -> None:
        """What is due is done in its order, whether it was asked for before the loop, in it, or while it waited."""
        done: list[str] = []

        def second() -> None:
            done.append("second")
            self.reactor.callLater(0, within)

        def within() -> None:
            done.append("from within")
            self.reactor.callLater(0.02, last)

        def last() -> None:
            done.append("last")
            self.reactor.crash()

        self.reactor.callLater(0.002, second)
        self.reactor.callLater(0.001, done.append, "first")
        far = self.reactor.callLater(10**9, done.append, "never")
        self.reactor.callLater(0.01, far.cancel)
        self.started()
        self.reactor.mainLoop()
        self.assertEqual(done, ["first", "second", "from within", "last"])

    def test_clock(self) -> None:
        """Its clock is one that nobody can set, for timers as well: else all timeouts come at once, or never."""
        before = time.monotonic()
        soon = self.reactor.callLater(10, int)
        self.assertTrue(before <= soon.getTime() - 10 <= self.reactor.seconds() <= time.monotonic())

    def test_end_of_turn(self) -> None:
        """What is left for the end of a turn is done there: after all events of the turn, whatever it does wrong."""
        done: list[str] = []
        for pipe in (self.pipe(), self.pipe()):

            def read(pipe: Pipe = pipe) -> None:
                os.read(pipe.reading, 100)
                done.append("event")
                self.reactor.at_end_of_turn(lambda: done.append("end") or 1 / 0)  # type: ignore[func-returns-value]

            self.patch(pipe, "doRead", read)
        self.reactor.doIteration(10)
        self.assertEqual(done, ["event", "event", "end", "end"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_end_of_turn_never_waits(self) -> None:
        """It is done before the reactor waits again, whether a timer asked for it, or an end of a turn itself."""
        done: list[str] = []

        def second() -> None:
            done.append("second")
            self.reactor.crash()

        def first() -> None:
            done.append("first")
            self.reactor.at_end_of_turn(second)

        self.reactor.callLater(0.001, self.reactor.at_end_of_turn, first)
        self.reactor.callLater(600, done.append, "never")
        self.started()
        self.reactor.mainLoop()
        self.assertEqual(done, ["first", "second"])

    def test_events_between_timers(self) -> None:
        """Events are dealt with while a timer is far away, and what they ask for is done at once."""
        pipe, done = self.pipe(), list[str]()

        def read() -> None:
            pipe.read.append(os.read(pipe.reading, 100))
            self.reactor.callLater(0, done.append, "asked for")
            self.reactor.callLater(0, self.reactor.crash)

        self.patch(pipe, "doRead", read)
        self.reactor.callLater(600, done.append, "never")
        self.started()
        self.reactor.mainLoop()
        self.assertEqual((pipe.read, done), ([b"hello"], ["asked for"]))

    def test_threads(self) -> None:
        """A call from another thread does not wait for the next event or timer."""
        self.reactor.callLater(600, int)
        done: list[str] = []

        def here() -> None:
            done.append("called")
            self.reactor.crash()

        thread = threading.Thread(target=self.reactor.callFromThread, args=(here,))
        self.reactor.callLater(0, thread.start)
        self.started()
        self.reactor.mainLoop()
        thread.join()
        self.assertEqual(done, ["called"])

    def test_end(self) -> None:
        """Threads that hang, be they for files or for the names of hosts, do not keep the process from its end."""
        program = (
            "from threading import Event; from llama_swap.net import reactor, worker\n"
            "hang, loop = Event().wait, reactor.DirectReactor()\n"
            "loop.callWhenRunning(loop.callInThread, hang); loop.callWhenRunning(worker.Worker(loop, 'worker'), hang)\n"
            "loop.callLater(0.1, loop.stop); loop.run()"
        )
        subprocess.check_call([sys.executable, "-c", program], timeout=20)

    def test_loop_goes_on(self) -> None:
        """An error that nobody caught is logged, and the loop goes on."""

        def fail() -> None:
            del self.reactor.runUntilCurrent  # so that it is Twisted's again
            self.reactor.callLater(0, self.reactor.crash)
            raise SystemExit

        self.reactor.runUntilCurrent = fail  # type: ignore[method-assign]
        self.started()
        self.reactor.mainLoop()
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_installed(self) -> None:
        """Both doors run on it, unless another reactor was chosen before."""
        config = Path(self.mktemp())
        config.write_text("listen: '127.0.0.1:0'\nmodels: {a: {cmd: serve, proxy: 'http://127.0.0.1:5800'}}")
        read = f"tap.read_settings(tap.Flags({str(config)!r}))"
        show = "from twisted.internet import reactor; print(type(reactor).__name__)"
        for before, expected in (
            ("", "DirectReactor"),
            ("from twisted.internet import pollreactor; pollreactor.install()\n", "PollReactor"),
        ):
            program = f"{before}from llama_swap import tap\n{read}\n{show}"
            shown = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=60)
            self.assertEqual(shown.strip(), expected)
