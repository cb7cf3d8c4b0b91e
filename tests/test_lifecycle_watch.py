"""Files that change, and who is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.sources import Sources, Stamp
from llama_swap.lifecycle.watch import PERIOD, SETTLING, Watch
from llama_swap.net.worker import NoThread


class WatchTests(SynchronousTestCase):
    """`Watch`, with real files and a clock of the test's own."""

    def setUp(self) -> None:
        """Watch a file, and a directory."""
        self.root = Path(self.mktemp())
        self.directory = self.root / "more"
        self.directory.mkdir(parents=True)
        self.path = self.root / "config.yaml"
        self.path.write_text("first")
        self.clock = Clock()
        self.changes = 0
        self.sources = Sources(str(self.path), str(self.directory))
        self.looks = 0
        self.answer: Deferred[None] = succeed(None)
        self.watch = Watch(self.clock, self.look, self.sources.stamps(), self.changed)
        self.watch.startService()

    def tearDown(self) -> None:
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def look(self) -> Deferred[Mapping[str, Stamp]]:
        """Look as soon as the disk answers."""
        self.looks += 1
        answer, self.answer = self.answer, succeed(None)
        return answer.addCallback(lambda _: self.sources.stamps())

    def changed(self) -> None:
        """Count."""
        self.changes += 1

    def pass_time(self) -> None:
        """Let a while pass."""
        self.clock.pump([SETTLING] * int(5 / SETTLING))

    def assert_seen(self, change: Callable[[], object]) -> None:
        """Something is seen once, soon, and forgotten."""
        before = self.changes
        change()
        self.pass_time()
        self.assertEqual(self.changes, before + 1)
        self.pass_time()
        self.assertEqual(self.changes, before + 1)

    def replace(self, text: str) -> None:
        """Write another file, and put it in the place of the first, as editors do."""
        new = self.root / "new"
        new.write_text(text)
        new.rename(self.path)

    def recreate(self) -> None:
        """Remove the file; write it anew later."""
        self.path.unlink()
        self.pass_time()
        self.path.write_text("again")

    def same_time(self) -> None:
        """Write more, and set the clock of the file back."""
        status = self.path.stat()
        self.path.write_text(self.path.read_text() + "more")
        os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def test_quiet(self) -> None:
        """Where nothing changes, nobody is told."""
        self.pass_time()
        self.assertEqual(self.changes, 0)

    def test_every_way(self) -> None:
        """Every way to change a file is seen, once."""
        self.assert_seen(lambda: self.path.write_text("in place"))
        self.assert_seen(lambda: self.replace("renamed"))
        self.assert_seen(self.recreate)
        self.assert_seen(self.path.touch)
        self.assert_seen(self.same_time)
        self.assert_seen(lambda: (self.directory / "b.yaml").write_text("new"))
        self.assert_seen(lambda: (self.directory / "b.yaml").write_text("other"))

    def test_links(self) -> None:
        """What a link points to counts, through any number of links, as in a mounted ConfigMap."""
        for generation in ("one", "two"):
            (self.root / generation).mkdir()
            (self.root / generation / "config.yaml").write_text("same text")
        (self.root / "..data").symlink_to("one")

        def mount() -> None:
            self.path.unlink()
            self.path.symlink_to("..data/config.yaml")

        def swap() -> None:
            (self.root / "..tmp").symlink_to("two")
            (self.root / "..tmp").rename(self.root / "..data")

        self.assert_seen(mount)
        self.assert_seen(swap)

    def test_disappearance(self) -> None:
        """That a file is gone is not worth a word; that the very same one is back, is."""
        aside = self.root / "aside"
        self.path.rename(aside)
        self.pass_time()
        self.assertEqual(self.changes, 0)
        self.assert_seen(lambda: aside.rename(self.path))

    def test_read_already(self) -> None:
        """What somebody has read already is no news, whether it was seen to change or not; what comes after that is."""
        for seen in (False, True):
            self.path.write_text(f"by hand {seen}")
            if seen:
                self.clock.advance(PERIOD)
            self.watch.have_seen(self.sources.stamps())
            self.pass_time()
            self.assertEqual(self.changes, 0)
        self.watch.have_seen(self.sources.stamps())
        self.assert_seen(lambda: self.path.write_text("in place"))

    def test_slow_writer(self) -> None:
        """Who writes piece by piece is waited for."""
        for count in range(20):
            self.path.write_text("x" * count)
            self.clock.pump([SETTLING / 2] * 2)
        self.clock.advance(PERIOD)
        self.pass_time()
        self.assertEqual(self.changes, 1)

    def test_not_other_files(self) -> None:
        """Other files in the directory are nobody's business."""
        (self.directory / "notes.txt").write_text("x")
        (self.directory / ".swap.yaml").write_text("x")
        self.pass_time()
        self.assertEqual(self.changes, 0)

    def test_disk_hangs(self) -> None:
        """A disk that does not answer is not asked again until it does; what changed meanwhile is seen then."""
        self.answer = answer = Deferred[None]()
        self.pass_time()
        self.path.write_text("meanwhile")
        self.pass_time()
        self.assertEqual((self.looks, self.changes), (1, 0))
        self.assert_seen(lambda: answer.callback(None))

    def test_read_while_disk_hangs(self) -> None:
        """What comes late tells nothing of what has been read since."""
        before = self.sources.stamps()
        self.answer = answer = Deferred[None]()
        self.pass_time()
        self.path.write_text("read already")
        self.watch.have_seen(self.sources.stamps())
        self.patch(Sources, "stamps", lambda _: before)
        answer.callback(None)
        self.patch(Sources, "stamps", lambda _: self.watch._seen)
        self.pass_time()
        self.assertEqual(self.changes, 0)

    def test_stopped_while_disk_hangs(self) -> None:
        """Once stopped it neither tells nor looks any more."""
        self.answer = answer = Deferred[None]()
        self.pass_time()
        self.watch.stopService()
        answer.callback(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.watch.startService()

    def test_cannot_look(self) -> None:
        """Where looking fails it is tried again; what lasts is told once, and what nobody foresaw as a defect."""
        events: list[LogEvent] = []
        self.patch(Watch, "_log", Logger(observer=events.append))
        failures: list[Exception] = [*[NoThread() for _ in range(3)], ZeroDivisionError(), ZeroDivisionError()]
        for failure in failures:
            self.answer = fail(failure)
            self.clock.advance(PERIOD)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn, LogLevel.critical])
        self.assert_seen(lambda: self.path.write_text("later"))
        self.answer = fail(NoThread())
        self.pass_time()
        self.assertEqual(len(events), 3)
