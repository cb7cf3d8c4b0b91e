"""The proxy's own events become lines that nobody can forge."""

from __future__ import annotations

import re
from threading import Thread

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.logs.observer import LineObserver, event_lines, in_reactor


class RenderingTests(SynchronousTestCase):
    """How an event looks."""

    def setUp(self) -> None:
        """Log into a list."""
        self.lines: list[bytes] = []
        self.log = Logger(observer=LogPublisher(LineObserver(self.lines.append)))

    def logged(self) -> str:
        """Return what was logged, without times."""
        text = b"".join(self.lines).decode()
        return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", text, flags=re.MULTILINE)

    def test_line(self) -> None:
        """A line has the local time, the level and the text with its values."""
        self.log.info("{model} is ready", model="llama")
        self.assertRegex(self.lines[0].decode(), r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[INFO\] llama is ready\n$")

    def test_levels(self) -> None:
        """Each level is named; an event without one, from Twisted's old log, counts as information."""
        self.log.emit(LogLevel.warn, "careful")
        self.log.error("bad")
        self.lines.append(event_lines({"log_time": 0.0, "log_format": "old"}))
        self.assertEqual(self.logged(), "[WARN] careful\n[ERROR] bad\n[INFO] old\n")

    def test_nothing_to_say(self) -> None:
        """An event without text has no line."""
        self.log.info("")
        self.assertEqual(self.lines, [])

    def test_braces_in_values(self) -> None:
        """Braces in a value are just braces."""
        self.log.info("{line}", line="{not a field}")
        self.assertEqual(self.logged(), "[INFO] {not a field}\n")

    def test_forged_lines(self) -> None:
        """No value can start a line, move the cursor or turn the text around."""
        forged = "x\n2026-01-01 00:00:00 [INFO] fake\r\x1b[2J\x9b1m\u2028\u202e\0\ud800"
        self.log.info("GET {path}", path=forged)
        self.assertEqual(len(self.lines), 1)
        self.assertEqual(
            self.logged(),
            "[INFO] GET x\\n2026-01-01 00:00:00 [INFO] fake\\r\\x1b[2J\\x9b1m\\u2028\\u202e\\x00\\ud800\n",
        )

    def test_other_scripts(self) -> None:
        """Letters of any script stay readable."""
        self.log.info("{text}", text="größer 模型 🦙")
        self.assertEqual(self.logged(), "[INFO] größer 模型 🦙\n")

    def test_failure(self) -> None:
        """A failure's traceback follows, indented, and its message can forge no line either."""
        self.log.failure("It broke", failure=Failure(ValueError("x\n[INFO] fake\x1b")))
        first, *rest = self.logged().splitlines()
        self.assertEqual(first, "[CRITICAL] It broke")
        self.assertIn("  Failure: builtins.ValueError: x", rest)
        self.assertTrue(all(line.startswith("  ") for line in rest), rest)
        self.assertNotIn("\x1b", self.logged())

    def test_unformattable(self) -> None:
        """An event that cannot be formatted still is one line."""
        self.log.emit(LogLevel.info, "{missing}")
        self.assertEqual(self.logged().count("\n"), 1)


@implementer(IReactorFromThreads)
class _ThreadQueue:
    """Notes the calls that threads ask of a reactor."""

    def __init__(self, queue: list[tuple[object, ...]]) -> None:
        self._queue = queue

    def callFromThread(self, *call: object) -> None:
        self._queue.append(call)


class SinkTests(SynchronousTestCase):
    """Where the lines go."""

    def test_all_sinks(self) -> None:
        """Each sink gets the same object; one of them is the source "proxy"."""
        broadcaster = Broadcaster()
        first: list[bytes] = []
        second: list[bytes] = []
        observer = LineObserver(first.append, second.append, broadcaster.publish_proxy)
        Logger(observer=LogPublisher(observer)).info("hello")
        self.assertIs(first[0], second[0])
        self.assertEqual(broadcaster.history("proxy"), first[0])

    def test_other_threads(self) -> None:
        """What another thread logs reaches a reactor's sink in the reactor's thread."""
        queue: list[tuple[object, ...]] = []
        lines: list[bytes] = []
        sink = in_reactor(_ThreadQueue(queue), lines.append)
        sink(b"from the main thread\n")
        thread = Thread(target=sink, args=(b"from another\n",))
        thread.start()
        thread.join()
        self.assertEqual(lines, [b"from the main thread\n"])
        self.assertEqual(queue, [(lines.append, b"from another\n")])
