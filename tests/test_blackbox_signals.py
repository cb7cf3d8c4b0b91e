"""The end: of the proxy by a signal, of its models, and of all that those started."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import CONSOLE, ProxyUnderTest, fake_model, fake_models, tested_environment
from tests.support_client import at_once
from tests.support_processes import command_line, is_alive, wait_until
from tests.support_requirements import require_program

STOPS = (signal.SIGTERM, signal.SIGINT)
SHELL = ("bash", "-c", 'exec 2>&0; set -m; "$@" 2>&1 & echo $! >pid; trap "exit 0" HUP USR1; wait', "shell")
"""Runs a command as its job, and ends with its terminal, or by SIGUSR1; it tells the job nothing."""


class ExitTests(SynchronousTestCase):
    """TERM and INT end the proxy with status 0 and leave nothing behind; the harness checks both."""

    def test_idle(self) -> None:
        """With nothing to do it takes no time, with and without a running model."""
        for number in STOPS:
            with ProxyUnderTest(fake_models("a")) as proxy:
                if number == signal.SIGTERM:
                    proxy.served("a")
                self.assertLess(proxy.stop(number), 3)

    def test_right_after_the_start(self) -> None:
        """Who sees the listening line may stop the proxy at once."""
        config = Path(self.mktemp())
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps(fake_models("a")))
        command = [*CONSOLE, "--config", str(config), "--listen", "127.0.0.1:0"]
        for number in STOPS * 3:
            with subprocess.Popen(command, env=tested_environment(), stdout=subprocess.PIPE) as proxy:
                assert proxy.stdout is not None
                self.assertIn(b"listening on", proxy.stdout.readline())
                proxy.send_signal(number)
            self.assertEqual(proxy.returncode, 0)

    def test_twistd(self) -> None:
        """The other door ends the same way."""
        for number in STOPS:
            with ProxyUnderTest(fake_models("a"), twistd=True) as proxy:
                proxy.served("a")
                self.assertLess(proxy.stop(number), 3)

    def test_while_a_file_hangs(self) -> None:
        """A disk that never answers, here a pipe into which nothing is written, holds up a reload, but not the end."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.config_path.unlink()
            os.mkfifo(proxy.config_path)
            proxy.send_signal(signal.SIGHUP)

            def read() -> int | None:
                with contextlib.suppress(OSError):  # nobody reads yet
                    return os.open(proxy.config_path, os.O_WRONLY | os.O_NONBLOCK)
                return None

            self.addCleanup(os.close, wait_until(read, 5, "the reading"))
            self.assertLess(proxy.stop(), 3)

    def test_while_loading(self) -> None:
        """A load is ended, and who waited for it is told."""
        for number in STOPS:
            model = fake_model("a", "--load-delay 60")
            with ProxyUnderTest({"models": {"a": model}}) as proxy, at_once(1) as clients:
                asked = clients.submit(proxy.chat, "a")
                proxy.journal.wait_for("start")
                self.assertLess(proxy.stop(number), 5)
                self.assertEqual(asked.result().status, 503)

    def test_running_answers_finish(self) -> None:
        """Streams that are under way arrive whole, new connections are refused meanwhile."""
        model = fake_model("a", "--stream 8@200")
        with ProxyUnderTest({"models": {"a": model}}) as proxy, proxy.stream("a") as stream:
            events = stream.events()
            next(events)
            proxy.send_signal(signal.SIGTERM)
            wait_until(lambda: self.refuses(proxy), 2)
            self.assertEqual([data for _, data in events][-1], b"[DONE]")
            self.assertEqual(proxy.wait(5), 0)

    def refuses(self, proxy: ProxyUnderTest) -> bool:
        """Tell whether the proxy takes no more connections."""
        try:
            proxy.get("/health")
        except ConnectionError:
            return True
        return False

    def test_log_streams_end(self) -> None:
        """Readers of the log do not hold the end up."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            with proxy.reading("/logs/stream") as stream:
                next(stream.lines())
                self.assertLess(proxy.stop(), 3)

    def test_second_signal(self) -> None:
        """A second signal does not wait for answers that never come."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--hold")}}) as proxy:
            client = proxy.hanging_up("a")
            self.addCleanup(client.close)
            proxy.journal.wait_for("req")
            proxy.send_signal(signal.SIGTERM)
            wait_until(lambda: self.refuses(proxy), 2)
            self.assertLess(proxy.stop(signal.SIGINT), 3)

    def test_killed(self) -> None:
        """Even when the proxy is killed, models and their children are gone within a second."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--ignore-term --fork-grandchild")}}) as proxy:
            proxy.served("a")
            self.assertGreaterEqual(len(proxy.survivors()), 3)
            proxy.kill()
            wait_until(lambda: not proxy.survivors(), 1.5, "the end of all models")


class TerminalTests(SynchronousTestCase):
    """The terminal in which the proxy runs, and its end."""

    def setUp(self) -> None:
        require_program("setsid", "util-linux")
        self.master, self.terminal = os.openpty()
        self.addCleanup(os.close, self.terminal)

    def close(self) -> None:
        """Close the terminal's window."""
        os.close(self.master)

    def job(self, proxy: ProxyUnderTest) -> int:
        """Return the pid of the proxy, where it is the shell's job."""
        return int((proxy.directory / "pid").read_text())

    def test_closed(self) -> None:
        """Whoever closes the terminal ends the proxy with its models, as by Ctrl-C."""
        with ProxyUnderTest(fake_models("a"), terminal=self.terminal) as proxy:
            proxy.served("a")
            self.close()
            self.assertEqual(proxy.wait(3), 0)
            self.assertEqual(proxy.survivors(), set())

    def test_answers_finish(self) -> None:
        """Running answers arrive whole, also where the shell says once more what the kernel has said already."""
        model = fake_model("a", "--stream 8@200")
        with ProxyUnderTest({"models": {"a": model}}, terminal=self.terminal) as proxy, proxy.stream("a") as stream:
            events = stream.events()
            next(events)
            self.close()
            proxy.wait_for_log("stopping")
            proxy.send_signal(signal.SIGHUP)
            self.assertEqual([data for _, data in events][-1], b"[DONE]")
            self.assertEqual(proxy.wait(5), 0)

    def test_open(self) -> None:
        """While it is open, SIGHUP is a reload."""
        with ProxyUnderTest(fake_models("a"), terminal=self.terminal) as proxy:
            proxy.send_signal(signal.SIGHUP)
            proxy.wait_for_log("configuration reloaded")
        self.close()

    def test_shell_ends(self) -> None:
        """A shell that ends tells its jobs, and only then is the terminal gone, which ends the proxy as well."""
        with ProxyUnderTest(fake_models("a"), terminal=self.terminal, within=SHELL) as proxy:
            proxy.served("a")
            os.kill(self.job(proxy), signal.SIGHUP)
            proxy.wait_for_log("configuration reloaded")
            proxy.send_signal(signal.SIGUSR1)
            self.assertEqual(proxy.wait(5), 0)
            wait_until(lambda: not proxy.survivors(), 8, "the end of the proxy and its models")
            self.assertIn("no model is left", proxy.log())
        self.close()

    def test_disowned(self) -> None:
        """A proxy that outlives its terminal goes on, and reloads as often as it is told."""
        with ProxyUnderTest(fake_models("a"), terminal=self.terminal, within=SHELL) as proxy:
            self.close()
            self.assertEqual(proxy.wait(5), 0)
            proxy.wait_for_log("the terminal has closed", 15)
            pid = self.job(proxy)
            for count in (1, 2):
                os.kill(pid, signal.SIGHUP)
                wait_until(lambda: proxy.log().count("configuration reloaded") == count, 5, "a reload")  # noqa: B023
            self.assertEqual(proxy.served("a"), "a")
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not proxy.survivors(), 5, "the end of the proxy and its models")

    def test_nohup(self) -> None:
        """Started by nohup, the proxy goes on, and reloads."""
        with ProxyUnderTest(fake_models("a"), terminal=self.terminal, within=["nohup"]) as proxy:
            self.close()
            proxy.send_signal(signal.SIGHUP)
            proxy.wait_for_log("configuration reloaded")
            self.assertEqual(proxy.served("a"), "a")

    def test_daemon(self) -> None:
        """twistd's proxy goes on, too, and reloads."""
        with ProxyUnderTest(fake_models("a"), terminal=self.terminal, twistd=True) as proxy:
            self.close()
            proxy.wait_for_log("configuration reloaded")
            self.assertEqual(proxy.served("a"), "a")


class ModelStopTests(SynchronousTestCase):
    """A model is its whole process group."""

    def stopping(self, knobs: str) -> dict[str, object]:
        """Return a model that is hard to stop, and one to swap to."""
        return {"models": {"a": fake_model("a", knobs, unloadTimeout=1), "b": fake_model("b")}}

    def test_group_gets_the_signal(self) -> None:
        """SIGTERM reaches the children of a model too."""
        with ProxyUnderTest(self.stopping("--fork-grandchild polite --ignore-term")) as proxy:
            proxy.served("a")
            self.assertEqual(proxy.served("b"), "b")
            self.assertEqual(len(proxy.journal.events("term", "a+grandchild")), 1)
            self.assertEqual(len(proxy.journal.events("term", "a")), 1)

    def test_stubborn_grandchild(self) -> None:
        """A child that outlives its parent and ignores SIGTERM is killed after `unloadTimeout`."""
        with ProxyUnderTest(self.stopping("--fork-grandchild")) as proxy:
            proxy.served("a")
            pid = proxy.journal.events("start", "a+grandchild")[0]["pid"]
            self.assertEqual(proxy.get("/unload").status, 200)
            self.assertFalse(is_alive(pid))
            self.assertEqual(proxy.served("a"), "a")

    def test_stubborn_model(self) -> None:
        """A model that ignores SIGTERM is killed after its `unloadTimeout`, not before."""
        with ProxyUnderTest(self.stopping("--ignore-term")) as proxy:
            proxy.served("a")
            began = time.monotonic()
            self.assertEqual(proxy.served("b"), "b")
            self.assertGreaterEqual(time.monotonic() - began, 1)

    def test_slow_model(self) -> None:
        """A model that needs time to stop gets it; the next starts when it has gone."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--term-delay 0.7"), "b": fake_model("b")}}) as proxy:
            proxy.served("a")
            self.assertEqual(proxy.served("b"), "b")
            self.assertEqual(proxy.journal.most_alive(), 1)
            self.assertEqual(proxy.journal.events("exit", "a")[0]["status"], 0)

    def test_session_leader(self) -> None:
        """A stubborn grandchild in a session of its own is named by a warning, and gone with its model."""
        with ProxyUnderTest(self.stopping("--setsid-grandchild")) as proxy:
            proxy.served("a")
            pid = proxy.journal.events("start", "a+grandchild")[0]["pid"]
            self.assertEqual(proxy.get("/unload").status, 200)
            self.assertFalse(is_alive(pid))
            proxy.wait_for_log(str(pid))
            self.assertEqual(proxy.served("b"), "b")

    def test_unknown_session_leader(self) -> None:
        """One that cannot be known for the model's, since it has no environment, hangs nothing; a warning names it."""
        server = fake_model("a")
        idle = f"{shlex.quote(sys.executable)} -ESc 'import time; time.sleep(60)'"
        script = f"env -i setsid {idle} & exec {server['cmd']}"
        with ProxyUnderTest({"models": {"a": {**server, "cmd": f"sh -c {shlex.quote(script)}"}}}) as proxy:
            proxy.served("a")
            self.assertEqual(proxy.get("/unload").status, 200)
            proxy.wait_for_log("goes on outside its group: pid ")
            pid = int(proxy.log().rpartition("outside its group: pid ")[2].split()[0])
            self.assertIn("time.sleep", command_line(pid))
            os.kill(pid, signal.SIGKILL)
