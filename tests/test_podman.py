"""Models in containers, started and stopped by the real podman.

No registry is needed: the image is made of this machine's own Python and of `fakellm`.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import uuid
from functools import cache
from pathlib import Path

from twisted.trial.unittest import FailTest, SkipTest, SynchronousTestCase

from tests.blackbox import HERE, MARK, ProxyUnderTest
from tests.support_processes import command_line, free_port, wait_until
from tests.support_requirements import require_program

LIMITS = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000"
"""podman's own limits are higher than what a container on a restricted machine may set."""
PYTHON = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]  # not that of the venv
WHAT_IT_LOADS = """
import sys, fakellm
fakellm.knobs_of(["--port", "1"])
files = (getattr(module, "__file__", None) for module in sys.modules.values())
print(*filter(None, files), sep="\\n")
"""


def write_image(path: Path) -> None:
    """Write an archive of fakellm and all that it runs on: Python, its modules, and what these are linked to."""
    asked = [PYTHON, "-ES", "-c", WHAT_IT_LOADS]
    modules = subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=True).stdout.split()
    linked = [PYTHON, *(module for module in modules if module.endswith(".so"))]
    listed = subprocess.run(["ldd", *linked], capture_output=True, text=True, check=False).stdout
    libraries = re.findall(r"(/\S+) \(0x", listed)
    with tarfile.open(path, "w") as archive:
        for file in sorted({PYTHON, *modules, *libraries}):
            archive.add(os.path.realpath(file), arcname=file)


def podman(*args: str) -> subprocess.CompletedProcess[str]:
    """Run podman to its end."""
    return subprocess.run(["podman", *args], capture_output=True, text=True, timeout=60, check=False)


@cache
def image() -> str:
    """Return the name of an image that podman runs here; without one the test is skipped, in CI it fails."""
    require_program("podman", "podman")
    name = f"llama-swap-test-{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "image.tar"
        write_image(archive)
        imported = podman("import", "--quiet", str(archive), name)
    atexit.register(podman, "rmi", "--force", "--ignore", name)
    tried = podman(*f"run --rm --network host {LIMITS} {name} {PYTHON} -ES -c pass".split())
    for done in (imported, tried):
        if done.returncode != 0:
            last_line = done.stderr.strip().rpartition("\n")[2]
            why = f"podman cannot run containers here: {last_line}"
            raise FailTest(why) if os.environ.get("CI") == "true" else SkipTest(why)
    return name


class PodmanTests(SynchronousTestCase):
    """`podman run` as the `cmd` of models."""

    def setUp(self) -> None:
        """Be sure that there is an image to run, and choose a name for this test's containers."""
        self.image = image()
        self.tag = f"llama-swap-test-{uuid.uuid4().hex}"

    def containers(self) -> list[str]:
        """Return the models that have a container, in whatever state."""
        listed = podman("ps", "--all", "--filter", f"name={self.tag}", "--format", "{{.Names}}")
        return sorted(name.rpartition("-")[2] for name in listed.stdout.split())

    def monitors(self) -> list[str]:
        """Return the living processes that watch our containers."""
        running = (command_line(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [command for command in running if "conmon" in command and self.tag in command]

    def run_command(self, name: str, knobs: str = "") -> str:
        """Return the command that runs fakellm in a container; it writes its journal where the test reads it."""
        return (
            f"podman run --rm --name {self.tag}-{name} --network host {LIMITS} --env {MARK} --env FAKELLM_JOURNAL "
            "--security-opt label=disable --volume ${env.FAKELLM_JOURNAL}:${env.FAKELLM_JOURNAL} "
            f"{self.image} {PYTHON} -ES {HERE}/fakellm.py --port ${{PORT}} --model {name} {knobs}"
        )

    def marked(self, knobs: str = "") -> str:
        """Return the command that passes the proxy's mark into the container, as docs/containers.md has it."""
        return self.run_command("a", knobs).replace(" --env ", " --env LLAMA_SWAP_PROXY --env ", 1)

    def swap(self, proxy: ProxyUnderTest) -> None:
        """Ask for a, b and a again: each alone has a container once it has answered."""
        for name in ("a", "b", "a"):
            self.assertEqual(proxy.served(name), name)
            wait_until(lambda name=name: self.containers() == [name], 5, f"only {name}: {self.containers()}")

    def assert_nothing_left(self) -> None:
        """Fail if a container or its monitor outlives its model by more than a moment."""
        wait_until(lambda: not self.containers(), 5, f"no container left: {self.containers()}")
        wait_until(lambda: not self.monitors(), 5, f"no conmon left: {self.monitors()}")

    def test_swap(self) -> None:
        """A request starts its container, a swap ends it with SIGTERM, and the end of the proxy leaves none."""
        models = {name: {"cmd": self.run_command(name)} for name in ("a", "b")}
        with ProxyUnderTest({"startPort": free_port(), "models": models}) as proxy:
            self.swap(proxy)
            for name in ("a", "b"):
                self.assertEqual(len(proxy.journal.events("term", name)), 1)
                self.assertEqual(len(proxy.journal.events("exit", name)), 1)
            self.assertEqual(len(proxy.journal.events("start", "a")), 2)
            self.assertEqual(proxy.journal.most_alive(), 1)
            proxy.stop()
            self.assert_nothing_left()
            self.assertNotIn("killed", proxy.log())

    def test_server_that_ignores_sigterm(self) -> None:
        """With the `cmdStop` of docs/containers.md such a container is gone before the next model starts."""
        stubborn = {"cmd": self.run_command("a", "--ignore-term"), "cmdStop": f"podman stop -t 1 {self.tag}-a"}
        models = {"a": stubborn, "b": {"cmd": self.run_command("b")}}
        with ProxyUnderTest({"startPort": free_port(), "models": models}) as proxy:
            self.swap(proxy)
            proxy.stop()
            self.assert_nothing_left()
            self.assertNotIn("killed", proxy.log())

    def test_killed_client(self) -> None:
        """A container whose client was killed is stopped by `cmdStop` before the model starts anew, under its name."""
        model = {"cmd": self.run_command("a"), "cmdStop": f"podman stop -t 1 {self.tag}-a"}
        with ProxyUnderTest({"startPort": free_port(), "models": {"a": model}}) as proxy:
            self.assertEqual(proxy.served("a"), "a")
            os.kill(int(proxy.log().partition("a: process ")[2].split()[0]), signal.SIGKILL)
            wait_until(lambda: proxy.running() != {"a": "ready"}, 5, "the end of the client is noticed")
            self.assertEqual(proxy.served("a"), "a")
            self.assertEqual(len(proxy.journal.events("exit", "a")), 1)
            self.assertEqual(proxy.journal.most_alive(), 1)
            proxy.stop()
            self.assert_nothing_left()

    def test_stubborn_server_with_the_mark(self) -> None:
        """A container with the mark is ended with its client, when that is killed after `unloadTimeout`."""
        models = {"a": {"cmd": self.marked("--ignore-term"), "unloadTimeout": 1}, "b": {"cmd": self.run_command("b")}}
        with ProxyUnderTest({"startPort": free_port(), "models": models}) as proxy:
            self.swap(proxy)
            proxy.stop()
            self.assert_nothing_left()

    def test_killed_proxy(self) -> None:
        """With the proxy's mark in its environment a container does not outlive a proxy that was killed outright."""
        with ProxyUnderTest({"startPort": free_port(), "models": {"a": {"cmd": self.marked()}}}) as proxy:
            self.assertEqual(proxy.served("a"), "a")
            self.assertEqual(self.containers(), ["a"])
            proxy.kill()
            self.assert_nothing_left()

    def test_stubborn_server_at_the_end(self) -> None:
        """Nor does it outlive the orderly end of the proxy, if it ignores SIGTERM."""
        model = {"cmd": self.marked("--ignore-term"), "unloadTimeout": 1}
        with ProxyUnderTest({"startPort": free_port(), "models": {"a": model}}) as proxy:
            self.assertEqual(proxy.served("a"), "a")
            proxy.stop()
            self.assert_nothing_left()
