"""What commands need of this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.command import split
from llama_swap.config.model import Config, ModelConfig
from llama_swap.upstream.needs import _missing_files, missing, why_no_program


class NeedsTestCase(SynchronousTestCase):
    """A directory with a file in it."""

    def setUp(self) -> None:
        """Make them."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "m.gguf"
        self.file.write_bytes(b"GGUF")

    def missing(self, *commands: str, proxy: str = "http://127.0.0.1:1", **env: str) -> list[tuple[str, str]]:
        """Return what models a, b, … with these commands are said to miss."""
        models = {
            name: ModelConfig(id=name, cmd=tuple(split(cmd)), proxy=proxy, env=env)
            for name, cmd in zip("abcdef", commands, strict=False)
        }
        lacking = missing(Config(models=models))
        return [(", ".join(ids), problem) for problem, ids in lacking.items()]


class ProgramTests(NeedsTestCase):
    """Programs."""

    def test_missing(self) -> None:
        """One that is not here is told once, with the models that need it."""
        problem = "there is no program 'no-such' here; install it, or write its full path"
        self.assertEqual(self.missing("no-such", "sh", "no-such 1"), [("a, c", problem)])
        self.assertEqual(self.missing("no-such"), [("a", problem)])
        self.assertEqual(self.missing("sh", ""), [])

    def test_path_of_the_model(self) -> None:
        """One that is on the model's own `PATH`, or on ours, is there."""
        (self.directory / "mine").symlink_to("/bin/sh")
        self.assertEqual(self.missing("mine", "sh", PATH=str(self.directory)), [])

    def test_not_executable(self) -> None:
        """One that may not be run is told to be made so, wherever it is found."""
        self.patch(os, "environ", {"PATH": f"/nowhere:{self.directory}"})
        for name in ("m.gguf", str(self.file)):
            told = f"the program {str(self.file)!r} is not executable; make it so, with chmod +x"
            self.assertEqual(self.missing(shlex.quote(name)), [("a", told)])
        for name in (f"{self.file}/x", "nul\0", "./nul\0"):
            self.assertIn("there is no program", why_no_program([name]))

    def test_no_file(self) -> None:
        """A directory, and what stands where we may not look, is told as that."""
        self.assertIn("is a directory", why_no_program([str(self.directory)]))
        self.patch(Path, "is_dir", Mock(side_effect=PermissionError))
        self.assertIn("is out of reach: this user", why_no_program(["/root/x"]))
        self.patch(Path, "is_dir", Mock(side_effect=OSError))
        self.assertIn("there is no program", why_no_program(["/root/x"]))

    def test_interpreter(self) -> None:
        """A script whose interpreter is not here is told: the system only says that a file is missing."""
        for first, told in (
            (b"#!/nowhere/python -u\n", ["'/nowhere/python', which is not here; mend its first line"]),
            (b"#! /bin/sh\r\n", ["'/bin/sh\\r', which is not here; save it with the line ends of Unix"]),
            (b"#!/bin/sh\n", []),
            (b"", []),
        ):
            self.file.write_bytes(first)
            self.file.chmod(0o755)
            missing = self.missing(shlex.quote(str(self.file)))
            self.assertEqual([problem.partition("is a script for ")[2] for _, problem in missing], told)

    def test_interpreter_out_of_reach(self) -> None:
        """Where it is not to be seen whether there is one, nothing is told."""
        self.file.write_bytes(b"#!/locked/python\n")
        self.file.chmod(0o755)
        stat = Path.stat

        def locked(path: Path, **options: Any) -> os.stat_result:
            if path.parts[:2] == ("/", "locked"):
                raise PermissionError
            return stat(path, **options)

        self.patch(Path, "stat", locked)
        self.assertEqual(self.missing(shlex.quote(str(self.file))), [])

    def test_wishes(self) -> None:
        """What only a shell would find is not to be installed; the file's own warnings have told about it."""
        for cmd in ("A=1 sh", "cd /x && sh", "~/x/y", "$HOME/x"):
            self.assertEqual(self.missing(cmd), [], cmd)
            problem = why_no_program(split(cmd))
            self.assertIn("no shell runs this", problem)
            self.assertNotIn("install", problem)
        self.assertTrue(why_no_program(["TOKEN=hush", "x"]).startswith("there is no program 'TOKEN': "))


class FileTests(NeedsTestCase):
    """Files of models."""

    def test_missing(self) -> None:
        """Each is told once, with where it was looked for."""
        for cmd, name in (
            ("true -m /no/x.gguf", "/no/x.gguf"),
            ("true --model=/no/x", "/no/x"),
            (f"true -m '{self.file}' --mmproj /no/mm.gguf -md /no/mm.gguf", "/no/mm.gguf"),
            ("true /no/x.gguf", "/no/x.gguf"),
            ("env -C /m true -m /no/x.gguf", "/no/x.gguf"),
            (f"true -m '{self.file}/x.gguf'", f"{self.file}/x.gguf"),
            ("true -m '/no/a b.gguf' '/no/c d.gguf'", "/no/a b.gguf"),
        ):
            self.assertEqual(self.missing(cmd), [("a", f"there is no file {name!r} here")], cmd)
        self.assertEqual(self.missing("true -m x.gguf"), [("a", f"there is no file 'x.gguf' in {Path.cwd()}")])

    def test_there(self) -> None:
        """What is there, or need not be here, is not told."""
        for cmd in (
            f"true -m '{self.file}'",
            f"true --model='{self.directory}'",
            "true -m Qwen/Qwen2.5-7B",
            "true --model Qwen/Qwen2.5-7B",
            "true -hf x/y -m /no/x.gguf",
            "true -mu https://x/y.gguf -m /no/x.gguf",
            "true --url https://x/y.gguf --alias y.gguf --lora a.gguf,b.gguf",
            "true -m ~/x.gguf",
            "sh -c 'x -m /no/x.gguf'",
            "env docker run x -m /models/x.gguf",
            "/usr/bin/podman run x -m /models/x.gguf",
            "true --log-file /no/x.log",
            "true --log-file server.gguf --name /m/model.gguf",
            "true server.gguf --lora x.gguf",
            "env docker-compose run x -m /models/x.gguf",
            "env podman-compose run x -m /models/x.gguf",
            "env kubectl exec x -- server -m /models/x.gguf",
            "env lxc exec x -- server -m /models/x.gguf",
            "env incus exec x -- server -m /models/x.gguf",
            "env chroot /x server -m /models/x.gguf",
            "env nix-shell --run 'server -m /no/x.gguf'",
            "env autossh x server -m /models/x.gguf",
            "env sudo -u them server -m /home/them/x.gguf",
            "env -C /m server -m x.gguf",
            "env --chdir=/m server -m ./x.gguf",
            "env flock /x -c '/bin/server -m /no/x.gguf'",
        ):
            told = [problem for _, problem in self.missing(cmd)]
            self.assertEqual(told, [], cmd)
        self.assertEqual(self.missing("true -m /no/x.gguf", proxy="http://gpu:1"), [])

    def test_unreachable(self) -> None:
        """One that cannot be looked at is not said to be absent."""
        [(_, problem)] = self.missing(f"true -m /{'x' * 300}.gguf")
        self.assertIn("cannot be used: File name too long", problem)

    def test_forbidden(self) -> None:
        """One that this user may not read, or not even look at, is told as that."""
        model = ModelConfig(id="m", cmd=("x", "-m", str(self.file)), proxy="http://127.0.0.1:1")
        self.patch(os, "access", lambda path, mode: False)
        self.assertIn("cannot be read by this user", next(_missing_files(model)))
        self.patch(Path, "stat", Mock(side_effect=PermissionError))
        self.assertIn("is out of reach", next(_missing_files(model)))

    def test_nowhere(self) -> None:
        """Files are looked for also when nobody can say which directory this is."""
        for error in (FileNotFoundError, PermissionError):
            self.patch(Path, "cwd", Mock(side_effect=error))
            self.assertEqual(
                self.missing("true -m x.gguf"), [("a", "there is no file 'x.gguf' in the current directory")]
            )
