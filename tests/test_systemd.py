"""The units of contrib/systemd, socket activation, and what the proxy tells systemd."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import CONSOLE, ROOT, TWISTD, ProxyUnderTest, fake_models, tested_environment
from tests.support_client import ask
from tests.support_processes import free_port
from tests.support_requirements import require_program

UNITS = ROOT / "contrib" / "systemd"
HARDENING = "hardening.conf"
SERVICES = ("llama-swap.service", "llama-swap-socket.service")
PROGRAM = "/opt/llama-swap/bin/llama-swap"


def settings(unit: str) -> dict[str, str]:
    """Return the settings of a unit."""
    lines = (UNITS / unit).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def recipe() -> list[list[str]]:
    """Return the commands of docs/operations.md that lead from a clone to a running service, as words."""
    chapter = (ROOT / "docs" / "operations.md").read_text().partition("\n## Under systemd\n")[2]
    block = re.search(r"```shell\n(.*?)```", chapter, re.DOTALL)
    assert block is not None
    lines = block[1].replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


class UnitTests(SynchronousTestCase):
    """The unit files."""

    def test_verify(self) -> None:
        """systemd itself finds nothing to say about them, once the program is where they expect it."""
        analyze = require_program("systemd-analyze", "systemd")
        with tempfile.TemporaryDirectory() as directory:
            names = sorted(unit.name for unit in UNITS.glob("llama-swap*"))
            self.assertEqual(names, ["llama-swap-socket.service", "llama-swap.service", "llama-swap.socket"])
            for name in names:
                text = (UNITS / name).read_text().replace(PROGRAM, sys.executable)
                (Path(directory) / name).write_text(text)
            for service in SERVICES:
                (Path(directory) / f"{service}.d").mkdir()
                shutil.copy(UNITS / HARDENING, Path(directory) / f"{service}.d")
            checked = subprocess.run(
                [analyze, "verify", "--man=no", *(f"{directory}/{name}" for name in names)],
                env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"},
                capture_output=True,
                text=True,
                check=False,
            )
        said = [line for line in checked.stderr.splitlines() if "llama-swap" in line]
        self.assertEqual((checked.returncode, said), (0, []), checked.stderr)

    def test_hardening(self) -> None:
        """systemd finds a hardened service well protected; GPUs are not hidden, and its home can be written."""
        analyze = require_program("systemd-analyze", "systemd")
        hardening = settings(HARDENING)
        for wanted in ("PrivateDevices", "ProtectClock", "DeviceAllow", "MemoryDenyWriteExecute", "ProcSubset"):
            self.assertNotIn(wanted, hardening)
        self.assertEqual(hardening["ReadWritePaths"], settings("llama-swap.service")["WorkingDirectory"])
        with tempfile.TemporaryDirectory() as directory:
            unit = Path(directory) / "llama-swap.service"
            unit.write_text((UNITS / unit.name).read_text() + (UNITS / HARDENING).read_text())
            command = [analyze, "security", "--offline=yes", "--threshold=30", "--no-pager", str(unit)]
            checked = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout[-200:] + checked.stderr)

    def test_command_lines(self) -> None:
        """The services differ in nothing but where they listen, and name the socket as its unit does."""
        services = [settings(unit) for unit in SERVICES]
        starts = [service.pop("ExecStart") for service in services]
        command = f"{PROGRAM} --config /etc/llama-swap.yaml"
        self.assertEqual(starts, [command, f"{command} --listen systemd:domain=INET:name=http"])
        self.assertEqual(settings("llama-swap.socket")["FileDescriptorName"], "http")
        only_one_has = {"WantedBy", "Requires"}
        first, second = ({key: service[key] for key in service.keys() - only_one_has} for service in services)
        self.assertEqual(first, second, "the services differ in more than where they listen")

    def test_recipe(self) -> None:
        """What docs/operations.md says to type makes what the units name, and checks it as they will run it."""
        service = settings("llama-swap.service")
        user, home = service["User"], service["WorkingDirectory"]
        config = service["ExecStart"].split()[-1]
        commands = recipe()
        self.assertIn(["/usr/bin/python3", "-m", "venv", str(Path(PROGRAM).parents[1])], commands)
        self.assertIn([str(Path(PROGRAM).parent / "pip"), "install", ".[llamacpp]"], commands)
        shell = ["--shell", "/usr/sbin/nologin"]
        self.assertIn(["useradd", "--system", "--home-dir", home, "--create-home", *shell, user], commands)
        self.assertIn(["install", "--mode", "640", "--group", user, "models.yaml", config], commands)
        as_service = ["runuser", "-u", user, "--", "env", "-i", "-C", home, f"HOME={home}", service["Environment"]]
        self.assertIn([*as_service, "llama-swap", "check", "--quiet", config], commands)
        self.assertIn(["cp", "contrib/systemd/llama-swap.service", "/etc/systemd/system/"], commands)
        self.assertIn(["systemctl", "enable", "--now", "llama-swap"], commands)
        self.assertEqual(service["Environment"].removeprefix("PATH=").split(":")[0], str(Path(PROGRAM).parent))


class SocketActivationTests(SynchronousTestCase):
    """`--listen systemd:…` as the socket unit uses it."""

    def test_serves(self) -> None:
        """The first connection starts the proxy and is answered by it; TERM ends it with 0."""
        activate = require_program("systemd-socket-activate", "systemd")
        port = free_port()
        with tempfile.TemporaryDirectory() as directory:
            config = Path(directory) / "config.yaml"
            config.write_text("models: {a: {cmd: 'true --port ${PORT}'}}")
            listen = ["--fdname=http", f"--listen=127.0.0.1:{port}", f"--setenv=PYTHONPATH={ROOT}"]
            command = [*CONSOLE, "--config", str(config), "--listen", "systemd:domain=INET:name=http"]
            process = subprocess.Popen([activate, *listen, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(process.communicate)
            assert process.stderr is not None
            while b"Listening on" not in (line := process.stderr.readline()):
                self.assertTrue(line, "systemd-socket-activate has ended")
            answer = ask(port, "GET", "/health", timeout=20)
            self.assertEqual((answer.status, answer.body), (200, b"OK"))
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate(timeout=10)
        self.assertEqual(process.returncode, 0)
        self.assertIn(f"llama-swap listening on http://127.0.0.1:{port}".encode(), printed)


class NotifyTests(SynchronousTestCase):
    """`Type=notify`"""

    def test_notifications(self) -> None:
        """READY=1 when it listens, STOPPING=1 when it has begun to stop; models are not told of the socket."""
        for twistd in (False, True):
            with (
                tempfile.TemporaryDirectory() as directory,
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
            ):
                systemd.bind(f"{directory}/notify")
                systemd.settimeout(15)
                self.check(systemd, f"{directory}/notify", twistd=twistd)

    def test_abstract_socket(self) -> None:
        """An address that begins with @ is in Linux's abstract namespace."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(f"\0llama-swap-test-{os.getpid()}")
            systemd.settimeout(15)
            self.check(systemd, f"@llama-swap-test-{os.getpid()}", twistd=False)

    def check(self, systemd: socket.socket, address: str, *, twistd: bool) -> None:
        """Run a proxy through its life, and compare what it says with where it is."""
        with ProxyUnderTest(fake_models("a"), env={"NOTIFY_SOCKET": address}, twistd=twistd) as proxy:
            self.assertEqual(systemd.recv(4096), b"READY=1")
            proxy.served("a")
            proxy.send_signal(signal.SIGTERM)
            self.assertEqual(systemd.recv(4096), b"STOPPING=1")
            self.assertEqual(proxy.wait(), 0)
            systemd.setblocking(False)
            self.assertRaises(BlockingIOError, systemd.recv, 4096)

    def test_not_ready(self) -> None:
        """A configuration that cannot be used ends the start without READY=1."""
        with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(f"{directory}/notify")
            systemd.setblocking(False)
            for door in (CONSOLE, TWISTD):
                ended = subprocess.run(
                    [*door, "--config", "/nonexistent.yaml"],
                    cwd=directory,
                    env=tested_environment(NOTIFY_SOCKET=f"{directory}/notify"),
                    capture_output=True,
                    timeout=20,
                    check=False,
                )
                self.assertEqual(ended.returncode, 1)
                self.assertRaises(BlockingIOError, systemd.recv, 4096)
