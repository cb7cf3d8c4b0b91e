"""What is logged about a configuration."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.sources import Sources
from llama_swap.lifecycle.remarks import Remarks
from llama_swap.listening.address import Address
from tests.support_config import load, one_model

HERE, EVERYWHERE = IPv4Address("TCP", "127.0.0.1", 80), IPv4Address("TCP", "0.0.0.0", 80)


class RemarksTests(SynchronousTestCase):
    """`Remarks`, between a reactor that does not run yet and somebody else's threads."""

    def setUp(self) -> None:
        """Keep what is logged, and what is to be run beside."""
        self.events: list[LogEvent] = []
        self.patch(Remarks, "_log", Logger(observer=self.events.append))
        self.loop = MemoryReactorClock()
        self.beside: list[Callable[[], None]] = []
        self.remarks = Remarks(self.loop, self.beside.append, Sources("config.yaml"))

    def logged(self) -> list[tuple[str, str]]:
        """Return the lines since the last call, with their levels."""
        lines = [(event["log_level"].name, formatEvent(event)) for event in self.events]
        self.events.clear()
        return lines

    def test_file(self) -> None:
        """What the file itself shows is told at once."""
        self.remarks.tell(load(one_model("cmd: x --port 1\ntttl: 5")))
        note, warning = self.logged()
        self.assertEqual(note[0], "info")
        self.assertTrue(note[1].startswith("config.yaml:2: models.m: taking port 1"), note)
        self.assertEqual(warning[0], "warn")
        self.assertTrue(warning[1].startswith("config.yaml:5: models.m.tttl: unknown key"), warning)

    def test_machine(self) -> None:
        """What the machine lacks is looked for beside, once the reactor runs, and logged by that thread."""
        self.remarks.tell(load(one_model("cmd: no-such-program --port ${PORT}")))
        self.assertEqual(self.beside, [])
        [(run, args, _)] = self.loop.whenRunningHooks
        run(*args)
        [look] = self.beside
        look()
        [(level, text)] = self.logged()
        self.assertEqual(level, "warn")
        self.assertTrue(
            text.startswith("config.yaml:4: models.m.cmd: there is no program 'no-such-program' here"), text
        )
        self.assertNotIn("(for", text)

    def test_no_thread(self) -> None:
        """Where no thread can be started, the machine is not looked at, and nothing else is the worse for it."""

        def refuse(_: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        Remarks(self.loop, refuse, Sources("config.yaml")).tell(load(one_model("cmd: no-such-program --port ${PORT}")))
        [(run, args, _)] = self.loop.whenRunningHooks
        run(*args)
        self.assertEqual(self.logged(), [])

    def test_introduction(self) -> None:
        """The file, how much is in it, and the address of the web interface, if browsers can go there."""
        config = load(one_model("cmd: x --port ${PORT}")).config
        for address, listening, page in (
            (":80", EVERYWHERE, "; web interface: http://localhost:80/ui"),
            ("ssl:80", HERE, "; web interface: https://127.0.0.1:80/ui"),
            ("unix:/run/x", UNIXAddress("/run/x"), ""),
        ):
            self.remarks.introduce(config, Address(address), listening)
            self.assertEqual(self.logged()[0], ("info", f"config.yaml: 1 model{page}"))
        both = Remarks(self.loop, self.beside.append, Sources("config.yaml", "more"))
        both.introduce(config, Address(":80"), HERE)
        self.assertTrue(self.logged()[0][1].startswith("config.yaml and more: 1 model; "))
