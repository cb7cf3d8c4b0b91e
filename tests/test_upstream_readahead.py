"""What is read ahead, when, and when not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.upstream import readahead
from llama_swap.upstream.readahead import STEP, ReadAhead, available_memory, model_files
from tests.fakes import make_model

GGUF = b"GGUF\x03\0\0\0"


class FilesCase(SynchronousTestCase):
    """Files in a directory of the test's own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def file(self, name: str, content: bytes = GGUF) -> Path:
        """Make a file."""
        path = self.directory / name
        path.write_bytes(content)
        return path


class ModelFilesTests(FilesCase):
    """`model_files`."""

    def test_whatever_the_flag(self) -> None:
        """A file is known by its content: in a word of its own, behind a «=», in a line for a shell."""
        model, projector, draft = self.file("a b.gguf"), self.file("c d"), self.file("e f.gguf")
        for words in (
            ["llama-server", "-m", f"{model}", f"--mmproj={projector}", "-md", f"{draft}"],
            [f"{model}", f"LLAMA_ARG_MMPROJ={projector}", f"{draft}"],
            ["sh", "-c", f"exec llama-server -m '{model}' --mmproj \"{projector}\"", f"{draft}"],
        ):
            self.assertEqual(model_files(words), [model, projector, draft])

    def test_each_once(self) -> None:
        """A file that is named twice is read once."""
        model = self.file("a.gguf")
        self.assertEqual(model_files([f"{model}", f"{model}"]), [model])

    def test_split(self) -> None:
        """The first part names the others, as far as they are there."""
        parts = [self.file(f"m-{number:05}-of-00003.gguf") for number in (1, 2, 3)]
        self.assertEqual(model_files([str(parts[0])]), parts)
        parts[1].unlink()
        self.assertEqual(model_files([str(parts[0])]), [parts[0], parts[2]])

    def test_anything_else(self) -> None:
        """Programs, directories, pipes, what is not there, and what can be no path, are left alone."""
        os.mkfifo(self.directory / "pipe")
        names = ["", ".", "pipe", "missing.gguf", "text", "x" * 5000, "nu\0ll", "8192", "short"]
        self.file("text", b"# GGUF")
        self.file("short", b"GG")
        self.assertEqual(model_files(["/bin/sh", "/dev/zero", *(f"{self.directory}/{name}" for name in names)]), [])


class ReadAheadTests(FilesCase):
    """`ReadAhead`."""

    def setUp(self) -> None:
        super().setUp()
        self.wishes: list[tuple[int, int, int]] = []
        self.waiting: list[Callable[[], None]] = []
        self.read_ahead = ReadAhead(self.waiting.append)
        self.during_a_wish: Callable[[], None] = lambda: None
        self.patch(os, "posix_fadvise", self.advise)

    def advise(self, descriptor: int, offset: int, length: int, advice: int) -> None:
        """Be the kernel."""
        self.assertEqual(advice, os.POSIX_FADV_WILLNEED)
        self.wishes.append((os.fstat(descriptor).st_ino, offset, length))
        self.during_a_wish()

    def wishes_for(self, *files: Path) -> list[tuple[int, int, int]]:
        """Return what it takes to have these files read."""
        return [(file.stat().st_ino, offset, STEP) for file in files for offset in range(0, file.stat().st_size, STEP)]

    def work(self) -> None:
        """Do what was to be done beside the reactor."""
        (work,) = self.waiting
        self.waiting.clear()
        work()

    def test_in_steps(self) -> None:
        """Every file of the command and the environment is wished for, no more at a time than the kernel grants."""
        first, second = self.file("a.gguf", GGUF + b"x" * 2 * STEP), self.file("b.gguf")
        self.read_ahead.begin(make_model("m", cmd=("x", "-m", f"{first}"), env={"LLAMA_ARG_MMPROJ": f"{second}"}))
        self.assertEqual(self.wishes, [])  # not in the reactor's thread
        self.work()
        self.assertEqual(self.wishes, self.wishes_for(first, second))
        self.assertEqual(len(self.wishes), 4)

    def test_more_than_there_is_memory(self) -> None:
        """Files that do not fit are not read at all."""
        files = [self.file("a.gguf"), self.file("b.gguf")]
        model = make_model("m", cmd=tuple(map(str, files)))
        for memory, read in ((2 * len(GGUF) - 1, []), (2 * len(GGUF), files)):
            with patch.object(readahead, "available_memory", lambda memory=memory: memory):
                self.read_ahead.begin(model)
                self.work()
            self.assertEqual(self.wishes, self.wishes_for(*read))

    def test_no_thread(self) -> None:
        """Where none can be started, nothing is read; that is tried again for the next model."""

        def refuse(_: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        model = make_model("m", cmd=(f"{self.file('a.gguf')}",))
        self.read_ahead = ReadAhead(refuse)
        self.read_ahead.begin(model)
        self.patch(self.read_ahead, "_run_beside", self.waiting.append)
        self.read_ahead.begin(model)
        self.work()
        self.assertEqual(len(self.wishes), 1)

    def test_another_model(self) -> None:
        """The model that is wanted last is read for, in the same thread; what was begun for another is left."""
        first, second = self.file("a.gguf", GGUF + b"x" * 9 * STEP), self.file("b.gguf")

        def change_of_mind() -> None:
            if len(self.wishes) == 2:
                self.read_ahead.begin(make_model("b", cmd=(f"{second}",)))

        self.during_a_wish = change_of_mind
        self.read_ahead.begin(make_model("a", cmd=(f"{first}",)))
        self.work()
        self.assertEqual(self.wishes, self.wishes_for(first)[:2] + self.wishes_for(second))
        self.assertEqual(self.waiting, [])

    def test_again(self) -> None:
        """It can be used any number of times."""
        file = self.file("a.gguf")
        for _ in range(3):
            self.read_ahead.begin(make_model("a", cmd=(f"{file}",)))
            self.work()
        self.assertEqual(self.wishes, self.wishes_for(file) * 3)

    def test_nothing_fails(self) -> None:
        """A file that cannot be read after all, or a system that cannot tell its memory, ends nothing."""
        file = self.file("a.gguf")
        model = make_model("m", cmd=(f"{file}",))

        def no_access() -> None:
            raise PermissionError

        self.during_a_wish = no_access
        self.read_ahead.begin(model)
        self.work()
        with patch.object(readahead, "available_memory", no_access):
            self.read_ahead.begin(model)
            self.work()
        self.during_a_wish = lambda: None
        self.read_ahead.begin(model)
        self.work()
        self.assertEqual(self.wishes, self.wishes_for(file) * 2)

    def test_available_memory(self) -> None:
        """The system tells what there is."""
        self.assertGreater(available_memory(), 1 << 20)
