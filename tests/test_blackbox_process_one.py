"""The proxy as process 1 of a container, which is a PID namespace here."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.blackbox import CONSOLE, LISTENING, fake_model, tested_environment
from tests.support_client import ask
from tests.support_processes import Journal, wait_until
from tests.support_requirements import require_program

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def children(parent: int) -> Iterator[tuple[int, str]]:
    """Return the children of a process, each with its state."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(ppid) == parent:
            yield int(stat.parent.name), state


class ProcessOneTests(SynchronousTestCase):
    """What only process 1 has to do."""

    def setUp(self) -> None:
        require_program("unshare", "util-linux")
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            raise SkipTest(f"no namespaces here: {tried.stderr.strip()}")
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)

    def start(self, model: dict[str, object]) -> None:
        """Start the proxy as process 1; be able to ask it, and know its number outside."""
        config = self.directory / "config.yaml"
        config.write_text(json.dumps({"models": {"a": model}}))
        log = self.directory / "log"
        self.journal = Journal(self.directory / "journal")
        environ = tested_environment(FAKELLM_JOURNAL=str(self.journal.path))
        command = [*UNSHARE, *CONSOLE, "--config", str(config), "--listen", "127.0.0.1:0"]
        with log.open("wb") as output:
            self.outside = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT)
        self.addCleanup(self.outside.wait)
        self.addCleanup(self.outside.kill)
        listening = wait_until(lambda: LISTENING.search(log.read_text()), 30, "the listening line")
        self.port = int(listening.group(1))
        [(self.proxy, _)] = children(self.outside.pid)

    def chat(self) -> int:
        """Return the status of a chat."""
        return ask(self.port, "POST", "/v1/chat/completions", {"model": "a", "messages": []}, None, 30).status

    def stop(self) -> None:
        """End the proxy as `docker stop` does, with its patience.  The exit status must be 0."""
        os.kill(self.proxy, signal.SIGTERM)
        self.assertEqual(self.outside.wait(10), 0)

    def test_orphans(self) -> None:
        """Processes that a model abandons are collected when they die; the model's own exit is still told."""
        model = fake_model("a")
        script = f"for n in 1 2 3 4 5; do sh -c 'sleep 0.5 &'; done; exec {model['cmd']}"
        model["cmd"] = f"sh -c {shlex.quote(script)}"
        self.start(model)
        self.assertEqual(self.chat(), 200)
        wait_until(lambda: len(list(children(self.proxy))) == 2, 5, "nobody but the guard and the model")
        self.assertEqual(ask(self.port, "GET", "/unload", None, None, 30).status, 200)
        self.assertEqual([state for _, state in children(self.proxy) if state == "Z"], [])
        self.assertEqual(self.chat(), 200)
        self.stop()

    def test_end(self) -> None:
        """SIGTERM ends it with all of its models, stubborn ones too, within the ten seconds that `docker stop` has."""
        self.start(fake_model("a", "--ignore-term"))
        self.assertEqual(self.chat(), 200)
        self.stop()
