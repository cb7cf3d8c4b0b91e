"""What is installed works: the wheel, an editable install, the single-file program, twistd's plugin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
from functools import cache
from pathlib import Path

from twisted.trial.unittest import FailTest, SkipTest, SynchronousTestCase

from llama_swap import __version__
from tests.blackbox import ROOT, fake_models
from tests.support_client import ask
from tests.support_processes import free_port, is_alive, wait_until

TWISTD = "from twisted.scripts.twistd import run; run()"


def build(hook: str, directory: str) -> str:
    """Return the path of a wheel, made as pip makes it; `build_editable` is what `pip install -e` installs."""
    program = f"from hatchling.build import {hook}; print({hook}({directory!r}))"
    built = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return f"{directory}/{built.stdout.split()[-1]}"


def clean_environment(**more: str) -> dict[str, str]:
    """Return an environment without PYTHONPATH, so that only what is installed is found."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **more}


class Installed:
    """An environment of its own with llama-swap in it; its dependencies are those of this environment."""

    def __init__(self, hook: str) -> None:
        # Objects of this kind live as long as the test run, and so does the directory.
        self._directory = tempfile.TemporaryDirectory(prefix="llama-swap-install-")
        self.root = os.path.realpath(self._directory.name)
        self.bin = Path(self.root) / "env" / "bin"
        venv.EnvBuilder(symlinks=True).create(self.bin.parent)
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet"]
        wheel = build(hook, self.root)
        installed = subprocess.run(
            [*pip, "--no-deps", "--no-index", wheel], capture_output=True, text=True, check=False
        )
        assert installed.returncode == 0, installed.stderr
        # Last, so that pip does not see a llama-swap of this environment.  A line of a .pth file adds a directory,
        # but does not read the .pth files in it: an editable install there stays hidden.
        paths = {"base": str(self.bin.parent), "platbase": str(self.bin.parent)}
        packages = Path(sysconfig.get_path("purelib", vars=paths))
        here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(here)))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs to its end."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.root,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def output(self, *command: str) -> str:
        """Return what a program prints; AssertionError unless it succeeds."""
        ended = self.run(*command)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


installed = cache(Installed)


class InstallTests(SynchronousTestCase):
    """Both ways to install."""

    hooks = ("build_wheel", "build_editable")

    def test_origin(self) -> None:
        """These tests look at what they mean to look at."""
        program = "import llama_swap; print(llama_swap.__file__)"
        self.assertTrue(
            installed("build_wheel").output("python", "-c", program).startswith(installed("build_wheel").root)
        )
        self.assertEqual(Path(installed("build_editable").output("python", "-c", program).strip()).parent.parent, ROOT)

    def test_twistd_knows_it(self) -> None:
        """`twistd --help` lists llama-swap, and `twistd llama-swap --help` explains it."""
        for hook in self.hooks:
            listed = installed(hook).output("python", "-c", TWISTD, "--help")
            self.assertRegex(listed, r"\n +llama-swap +A proxy that starts, swaps and stops")
            explained = installed(hook).output("python", "-c", TWISTD, "llama-swap", "--help")
            self.assertIn("--config=", explained)
            self.assertIn("--listen=", explained)

    def test_scripts(self) -> None:
        """The console scripts are there."""
        for hook in self.hooks:
            for name in ("llama-swap", "llama-swap-llamacpp"):
                self.assertTrue(installed(hook).output(name, "--version").startswith(f"{name} {__version__}"))

    def test_packaged_files(self) -> None:
        """What is not Python code comes along: the web interface, the demo's configuration, the licence."""
        environment = installed("build_wheel")
        program = "from llama_swap.llamacpp.demo import configuration; print(configuration())"
        configuration = environment.output("python", "-c", program).strip()
        self.assertTrue(configuration.startswith(environment.root))
        self.assertEqual(Path(configuration).read_text(), (ROOT / "examples" / "demo.yaml").read_text())
        files = environment.output("python", "-c", "import importlib.metadata as m; print(*m.files('llama-swap'))")
        pages = ROOT / "llama_swap" / "web" / "pages"
        for page in pages.iterdir():
            if page.suffix in {".html", ".css", ".js"}:
                self.assertIn(f"llama_swap/web/pages/{page.name}", files.split())
        self.assertIn("LICENSE", files)

    def test_no_tests_inside(self) -> None:
        """The wheel puts nothing into site-packages but the package and the plugin."""
        program = "import importlib.metadata as m; print(*{f.parts[0] for f in m.files('llama-swap')})"
        top = set(installed("build_wheel").output("python", "-c", program).split())
        self.assertEqual(top, {"..", "llama_swap", "twisted", f"llama_swap-{__version__}.dist-info"})


def end(pid: int) -> None:
    """Kill a daemon that a failed test has left."""
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)


class DaemonTests(SynchronousTestCase):
    """twistd in the background, from the wheel."""

    def twistd(self, directory: str, config: str, port: int) -> subprocess.CompletedProcess[str]:
        """Start the daemon; what is returned is how its starter ended."""
        own = [f"--pidfile={directory}/pid", f"--logfile={directory}/log", f"--rundir={directory}"]
        ours = ["llama-swap", "--config", config, "--listen", f"127.0.0.1:{port}"]
        return installed("build_wheel").run("python", "-c", TWISTD, *own, *ours)

    def test_life(self) -> None:
        """It serves in the background, writes its log, and after TERM leaves no process and no pid file."""
        port = free_port()
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "config.yaml").write_text(json.dumps(fake_models("a")))
            started = self.twistd(directory, f"{directory}/config.yaml", port)
            self.assertEqual((started.returncode, started.stdout + started.stderr), (0, ""))
            pid_file, log = Path(directory, "pid"), Path(directory, "log")
            wait_until(lambda: pid_file.exists() and pid_file.read_text(), 20, "the pid file")
            pid = int(pid_file.read_text())
            self.addCleanup(end, pid)
            wait_until(lambda: log.exists() and "llama-swap listening on" in log.read_text(), 20, "the listening line")
            question = {"model": "a", "messages": []}
            self.assertEqual(ask(port, "POST", "/v1/chat/completions", question).status, 200)
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not is_alive(pid), 10, "the end of the daemon")
            self.assertFalse(pid_file.exists())
            self.assertIn("no model is left", log.read_text())
            self.assertNotIn("Traceback", log.read_text())

    def test_relative_paths(self) -> None:
        """The configuration is found from where twistd was typed, though the daemon runs elsewhere."""
        port = free_port()
        environment = installed("build_wheel")
        with tempfile.TemporaryDirectory() as directory:
            Path(environment.root, "relative.yaml").write_text(json.dumps(fake_models("a")))
            self.assertEqual(self.twistd(directory, "relative.yaml", port).returncode, 0)
            pid_file = Path(directory, "pid")
            wait_until(lambda: pid_file.exists() and pid_file.read_text(), 20, "the pid file")
            pid = int(pid_file.read_text())
            self.addCleanup(end, pid)
            log = Path(directory, "log")
            wait_until(lambda: log.exists() and "llama-swap listening on" in log.read_text(), 20, "the listening line")
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not is_alive(pid), 10, "the end of the daemon")

    def test_bad_configuration(self) -> None:
        """It is told to whoever typed the command, and nothing stays."""
        with tempfile.TemporaryDirectory() as directory:
            config = Path(directory, "config.yaml")
            config.write_text("models: {a: {cmd: 3, proxi: x}}")
            ended = self.twistd(directory, str(config), free_port())
            self.assertEqual(ended.returncode, 1)
            self.assertIn("config.yaml:1: models.a", ended.stdout + ended.stderr)
            self.assertNotIn("Traceback", ended.stdout + ended.stderr)
            self.assertFalse(Path(directory, "pid").exists())


@cache
def packed() -> Path:
    """Return the path of the single-file program; the packages in it come from the package index."""
    directory = installed("build_wheel").root
    program = Path(directory, "llama-swap.pyz")
    pack = [sys.executable, str(ROOT / "tools" / "make_pyz.py"), str(program), build("build_wheel", directory)]
    made = subprocess.run(pack, env=clean_environment(), capture_output=True, text=True, timeout=300, check=False)
    if made.returncode != 0:
        why = f"shiv could not pack the program:\n{made.stdout}{made.stderr}"
        raise FailTest(why) if os.environ.get("CI") == "true" else SkipTest(why)
    return program


class SingleFileTests(SynchronousTestCase):
    """build/llama-swap.pyz, as `make all` builds it."""

    python = os.path.realpath(sys.executable)
    """The one that knows no virtual environment."""

    def test_runs(self) -> None:
        """With nothing but a Python of the same version it tells its version, and serves a model."""
        with tempfile.TemporaryDirectory() as directory:
            environment = clean_environment(SHIV_ROOT=f"{directory}/unpacked")
            told = subprocess.run(
                [self.python, "-I", packed(), "--version"], env=environment, capture_output=True, check=True
            )
            self.assertEqual(told.stdout.decode(), f"llama-swap {__version__}\n")
            Path(directory, "config.yaml").write_text(json.dumps(fake_models("a")))
            arguments = ["-config", f"{directory}/config.yaml", "-listen", "127.0.0.1:0"]
            command = [self.python, "-I", packed(), *arguments]
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
                self.addCleanup(process.kill)
                assert process.stdout is not None
                line = process.stdout.readline()
                self.assertIn("llama-swap listening on http://127.0.0.1:", line)
                answer = ask(
                    int(line.rpartition(":")[2]), "POST", "/v1/chat/completions", {"model": "a", "messages": []}
                )
                self.assertEqual(answer.status, 200)
                process.terminate()
                self.assertEqual(process.wait(10), 0)

    def test_no_place(self) -> None:
        """Where it cannot unpack itself, it says so in a line, and what to do."""
        environment = clean_environment(SHIV_ROOT="/dev/null/cache")
        ended = subprocess.run(
            [self.python, "-I", packed(), "--version"], env=environment, capture_output=True, text=True, check=False
        )
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        why = "cannot unpack into /dev/null/cache: Not a directory; SHIV_ROOT=DIRECTORY names another place"
        self.assertEqual(ended.stderr, f"{packed()} {why}\n")

    def test_other_python(self) -> None:
        """Another Python than the one that it was made for is refused before anything is unpacked."""
        pretend = "import runpy, sys; sys.version_info = (3, 99, 0); runpy.run_path(sys.orig_argv[-1])"
        ended = subprocess.run(
            [self.python, "-I", "-c", pretend, packed()],
            env=clean_environment(SHIV_ROOT="/dev/null/cache"),
            capture_output=True,
            text=True,
            check=False,
        )
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.assertEqual(
            (ended.returncode, ended.stderr), (1, f"{packed()} needs Python {version}, and this is 3.99\n")
        )
