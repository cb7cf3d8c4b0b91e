"""`cmdStop` from outside: a client in front of a server that no signal to the client reaches, as with containers."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_processes import is_alive, wait_until

# The server gets an environment without the proxy's mark, and a session of its own: nothing of the client leads to it.
CLIENT = """
import os, subprocess, sys, time
pidfile, *server = sys.argv[1:]
environ = {name: value for name, value in os.environ.items() if name != "LLAMA_SWAP_PROXY"}
process = subprocess.Popen(server, env=environ, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)
open(pidfile, "w").write(str(process.pid))
process.wait()
"""


class StopCommandTests(SynchronousTestCase):
    """Models that `cmdStop` stops."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.marker = self.directory / "marker"
        self.server = self.directory / "pid"

    def contained(self, cmd_stop: str, knobs: str = "", **config: Any) -> dict[str, Any]:
        """Return a configuration with such a model, `a`, and another one."""
        model = fake_model("a", knobs, env=["NAME=of the model"], cmdStop=cmd_stop, **config)
        client = self.directory / "client.py"
        client.write_text(CLIENT)
        model["cmd"] = shlex.join([sys.executable, "-ES", str(client), str(self.server)]) + " " + model["cmd"]
        return {"models": {"a": model, "b": fake_model("b")}}

    def stopping(self, before: str = "") -> str:
        """Return a `cmdStop` that ends the server, and leaves a line with what it was told."""
        script = f'{before} echo "$NAME, $0" >> "{self.marker}"; kill -KILL $(cat "{self.server}")'
        return f"sh -c {shlex.quote(script)} ${{PID}}"

    def lines(self) -> list[str]:
        """Return what the runs of `cmdStop` have left."""
        return self.marker.read_text().splitlines() if self.marker.exists() else []

    def server_pid(self) -> int:
        """Return the server behind the client."""
        return int(self.server.read_text())

    def test_swap(self) -> None:
        """It runs once, with the model's environment and the client's pid, before the next model starts."""
        with ProxyUnderTest(self.contained(self.stopping("sleep 0.5;"))) as proxy:
            proxy.served("a")
            self.assertEqual(proxy.served("b"), "b")
            [line] = self.lines()
            name, _, pid = line.rpartition(", ")
            self.assertEqual(name, "of the model")
            self.assertIn(f"a: process {pid}", proxy.log())
            started = proxy.journal.events("start", "b")[0]["t"]
            self.assertLess(self.marker.stat().st_mtime, started)

    def test_client_dies(self) -> None:
        """If only the client dies, the server is stopped by it before the model is started anew."""
        with ProxyUnderTest(self.contained(self.stopping("sleep 0.3;"))) as proxy:
            proxy.served("a")
            first = self.server_pid()
            client = int(proxy.log().partition("a: process ")[2].split()[0])
            os.kill(client, signal.SIGKILL)
            wait_until(lambda: proxy.running() != {"a": "ready"}, 5, "the end of the client is noticed")
            self.assertEqual(proxy.served("a"), "a")
            self.assertEqual((len(self.lines()), is_alive(first)), (1, False))

    def test_whole_grace(self) -> None:
        """It has the time it needs, within `unloadTimeout`: nothing is killed before."""
        with ProxyUnderTest(self.contained(self.stopping("sleep 3;"))) as proxy:
            proxy.served("a")
            self.assertGreater(proxy.get("/unload").seconds, 3)
            self.assertEqual(len(self.lines()), 1)
            self.assertNotIn("killed", proxy.log())

    def test_fails(self) -> None:
        """A failing one, or one that is not there, is followed by SIGTERM at once."""
        for cmd_stop in ("false", "no-such-program"):
            with ProxyUnderTest({"models": {"a": fake_model("a", cmdStop=cmd_stop)}}) as proxy:
                proxy.served("a")
                self.assertLess(proxy.get("/unload").seconds, 10)  # `unloadTimeout`
                self.assertEqual(len(proxy.journal.events("term", "a")), 1)
                proxy.wait_for_log("cmdStop")

    def test_hangs(self) -> None:
        """One that hangs is killed after `unloadTimeout`; the model is sent SIGTERM, and if need be killed."""
        model = fake_model("a", "--ignore-term", cmdStop="sleep 1000", unloadTimeout=1)
        with ProxyUnderTest({"models": {"a": model}}) as proxy:
            proxy.served("a")
            self.assertGreater(proxy.get("/unload").seconds, 1)
            self.assertEqual(len(proxy.journal.events("term", "a")), 1)
            self.assertEqual(proxy.served("a"), "a")

    def test_end_of_the_proxy(self) -> None:
        """It runs at the end of the proxy as well, which waits for it no longer than for any model."""
        with ProxyUnderTest(self.contained(self.stopping("sleep 1;"))) as proxy:
            proxy.served("a")
            proxy.stop()
            self.assertEqual(len(self.lines()), 1)
        self.marker.unlink()
        with ProxyUnderTest({"models": {"a": fake_model("a", cmdStop="sleep 1000")}}) as proxy:
            proxy.served("a")
