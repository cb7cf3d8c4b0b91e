"""Models come and go: what one process was does not haunt the next, and nobody waits for what is not his concern."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import CONSOLE, ProxyUnderTest, fake_model, fake_models, tested_environment
from tests.support_client import ask, at_once
from tests.support_processes import free_port, open_files, wait_until


class CyclesTests(SynchronousTestCase):
    """Start after start, stop after stop."""

    def test_nothing_remains(self) -> None:
        """Ten loads and unloads leave no open file and no dead process."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            proxy.get("/unload")
            before = open_files(proxy.pid)
            for _ in range(10):
                proxy.served("a")
                proxy.get("/unload")
            wait_until(lambda: open_files(proxy.pid) <= before, 5, "no more files than before")
            states = [stat.read_text().rpartition(")")[2].split()[:2] for stat in Path("/proc").glob("[0-9]*/stat")]
            self.assertNotIn(["Z", str(proxy.pid)], states)

    def test_request_into_a_stop(self) -> None:
        """Who asks for a model while that stops for its `ttl` is served by its next process."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--term-delay 0.7", ttl=1)}}) as proxy:
            for count in (2, 3):
                proxy.served("a")
                proxy.journal.wait_for("term", count=count - 1)
                self.assertEqual(proxy.served("a"), "a")
                self.assertEqual(len(proxy.journal.events("start")), count)

    def test_idle_time_of_a_former_process(self) -> None:
        """The `ttl` of a process that died does not end the next one early."""
        with ProxyUnderTest({"models": {"a": fake_model("a", ttl=2)}}) as proxy:
            proxy.served("a")
            time.sleep(1)  # half of its time, so that the timer would fire in the midst of the next one's
            os.kill(proxy.journal.events("start")[0]["pid"], signal.SIGKILL)
            wait_until(lambda: proxy.running() == {}, 5)
            asked = time.time()
            proxy.served("a")
            self.assertGreater(proxy.journal.wait_for("term")["t"] - asked, 1.9)

    def test_few_swaps(self) -> None:
        """Six requests for three models in turn, all at once, are three loads."""
        models = {name: fake_model(name, "--load-delay 0.2") for name in "abc"}
        with ProxyUnderTest({"models": models}) as proxy, at_once(6) as clients:
            self.assertEqual(sorted(clients.map(proxy.served, "abcabc")), sorted("abcabc"))
            self.assertEqual(len(proxy.journal.events("start")), 3)


class OthersTests(SynchronousTestCase):
    """Who has nothing to do with it does not wait."""

    def test_slow_stop(self) -> None:
        """While one model takes its time to stop, another one answers, and so does the proxy."""
        models = {"a": fake_model("a", "--term-delay 1.5", ttl=1), "b": fake_model("b")}
        with ProxyUnderTest({"models": models, "profiles": {"both": ["a", "b"]}}) as proxy:
            proxy.served("both:a")
            proxy.served("both:b")
            proxy.journal.wait_for("term", "a")
            answers = [proxy.chat("b"), proxy.get("/running"), proxy.get("/health")]
            self.assertEqual([answer.status for answer in answers], [200] * 3)
            self.assertEqual(proxy.journal.events("exit", "a"), [])

    def test_nobody_reads_its_output(self) -> None:
        """A full pipe behind the proxy's standard output delays no request, nor its end."""
        port = free_port()
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        config = directory / "config.yaml"
        config.write_text(json.dumps({**fake_models("a"), "logRequests": True}))
        command = [*CONSOLE, "--config", str(config), "--listen", f"127.0.0.1:{port}"]
        with subprocess.Popen(command, env=tested_environment(), stdout=subprocess.PIPE) as proxy:
            assert proxy.stdout is not None
            self.addCleanup(proxy.kill)
            self.assertIn(b"listening", proxy.stdout.readline())
            fcntl.fcntl(proxy.stdout, fcntl.F_SETPIPE_SZ, 4096)
            question = {"model": "a", "messages": []}
            answers = [ask(port, "POST", "/v1/chat/completions", question) for _ in range(200)]
            self.assertEqual({answer.status for answer in answers}, {200})
            proxy.send_signal(signal.SIGTERM)
            self.assertEqual(proxy.wait(5), 0)
