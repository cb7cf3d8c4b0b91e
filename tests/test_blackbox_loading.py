"""Models start once for many, are ready when they say so, and a failed start is told at once."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.upstream.readiness import RELEASE_TIMEOUT
from tests.blackbox import FAKELLM, ProxyUnderTest, fake_model, fake_models
from tests.support_client import at_once
from tests.support_processes import free_port, is_alive, wait_until


class StartTests(SynchronousTestCase):
    """Many requests, few starts, one model at a time."""

    def test_a_herd_starts_one_process(self) -> None:
        """50 simultaneous cold requests share one load, and all are answered."""
        config = {"models": {"a": fake_model("a", "--load-delay 0.3", concurrencyLimit=100)}}
        with ProxyUnderTest(config) as proxy, at_once(50) as clients:
            answers = list(clients.map(proxy.chat, ["a"] * 50))
            self.assertEqual([answer.status for answer in answers], [200] * 50)
            self.assertEqual(len(proxy.journal.events("start")), 1)

    def test_alternating_models(self) -> None:
        """200 requests, four at a time, alternate between two models on one device; none fails."""
        lock = Path(self.mktemp()).absolute()
        lock.parent.mkdir(parents=True, exist_ok=True)
        models = {name: fake_model(name, f"--lock {lock}") for name in ("a", "b")}
        with ProxyUnderTest({"models": models}) as proxy, at_once(4) as clients:
            asked = ["a", "b"] * 100
            self.assertEqual(list(clients.map(proxy.served, asked)), asked)
            self.assertEqual(proxy.journal.most_alive(), 1)
            self.assertEqual({event["status"] for event in proxy.journal.events("exit")}, {0})

    def test_ready_when_healthy(self) -> None:
        """Only a 200 from the health endpoint lets requests through; a probe without answer is given up."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--health 503*5,200 --health-hang")}}) as proxy:
            self.assertEqual(proxy.served("a"), "a")
            self.assertEqual(len(proxy.journal.events("probe")), 7)

    def test_no_health_endpoint(self) -> None:
        """`checkEndpoint: none` asks no endpoint, and still waits until the model listens."""
        model = fake_model("a", "--load-delay 0.3 --health 500", checkEndpoint="none")
        with ProxyUnderTest({"models": {"a": model}}) as proxy:
            self.assertEqual(proxy.served("a"), "a")
            self.assertEqual(proxy.journal.events("probe"), [])

    def test_client_leaves_a_load(self) -> None:
        """A load that nobody waits for any more goes on, and serves the next request."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--load-delay 0.5")}}) as proxy:
            impatient = proxy.hanging_up("a")
            proxy.journal.wait_for("start")
            impatient.close()
            proxy.journal.wait_for("bind")
            self.assertEqual(proxy.served("a"), "a")
            self.assertEqual((len(proxy.journal.events("start")), len(proxy.journal.events("req"))), (1, 1))


class FailureTests(SynchronousTestCase):
    """A start that fails is a clear error, not a long wait; the next request tries again."""

    def test_not_ready_in_time(self) -> None:
        """A model that is not healthy after `healthCheckTimeout` is ended, and its request is told so."""
        model = fake_model("a", "--health 503")
        with ProxyUnderTest({"models": {"a": model}, "healthCheckTimeout": 15}) as proxy:
            answer = proxy.chat("a")
            self.assertEqual((answer.status, answer.error()["type"]), (504, "server_error"))
            self.assertGreater(answer.seconds, 14.5)
            self.assertIn("15", answer.error()["message"])
            self.assertTrue(proxy.journal.wait_for("exit", "a"))

    def test_exit_while_loading(self) -> None:
        """The answer comes as soon as the process has gone, with its status and its last words."""
        model = fake_model("a", "--exit-after 0.3 --exit-code 3 --load-delay 60")
        with ProxyUnderTest({"models": {"a": model}, "healthCheckTimeout": 60}) as proxy:
            answer = proxy.chat("a")
            self.assertEqual(answer.status, 502)
            self.assertEqual(answer.error()["type"], "server_error")
            for part in ("a", "3", "cudaMalloc failed: out of memory"):
                self.assertIn(part, answer.error()["message"])

    def test_one_failure_is_forgiven(self) -> None:
        """After one failed start the next request starts the model again, at once."""
        marker = Path(self.mktemp()).absolute()
        marker.parent.mkdir(parents=True, exist_ok=True)
        port = free_port()
        script = f"[ -e '{marker}' ] && exec {FAKELLM} --port {port} --model a; touch '{marker}'; exit 4"
        model = {"cmd": f"sh -c {shlex.quote(script)}", "proxy": f"http://127.0.0.1:{port}"}
        with ProxyUnderTest({"models": {"a": model}}) as proxy:
            failed = proxy.chat("a")
            self.assertEqual(failed.status, 502)
            self.assertIn("4", failed.error()["message"])
            self.assertEqual(proxy.served("a"), "a")

    def test_crash_loop(self) -> None:
        """A model that keeps dying is not started for every request; the rest is told to come back."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--exit-after 0 --load-delay 60")}}) as proxy:
            answers = [proxy.chat("a") for _ in range(20)]
            self.assertEqual({answer.status for answer in answers}, {502, 503})
            self.assertLessEqual(len(proxy.journal.events("start")), 5)
            refused = answers[-1]
            self.assertEqual(refused.status, 503)
            self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
            self.assertIn("out of memory", refused.error()["message"])

    def test_missing_program(self) -> None:
        """A program that does not exist is named in the answer."""
        model = {"cmd": "no-such-llama-server --port 9", "proxy": "http://127.0.0.1:9"}
        with ProxyUnderTest({"models": {"a": model, "b": fake_model("b")}}) as proxy:
            answer = proxy.chat("a")
            self.assertEqual(answer.status, 502)
            self.assertIn("no-such-llama-server", answer.error()["message"])
            self.assertEqual(proxy.served("b"), "b")

    def test_a_stranger_on_the_port(self) -> None:
        """Whoever holds the model's port never gets a request; the error names port and program, and comes soon."""
        with socket.create_server(("127.0.0.1", free_port())) as stranger:
            stranger.settimeout(0.1)
            port = stranger.getsockname()[1]
            with ProxyUnderTest({"models": {"a": fake_model("a", port=port)}}) as proxy:
                answer = proxy.chat("a")
                self.assertEqual(answer.status, 502)
                self.assertIn(
                    f"on port {port}, where the model is to listen: pid {os.getpid()} (", answer.error()["message"]
                )
                self.assertLess(answer.seconds, RELEASE_TIMEOUT)
            with self.assertRaises(TimeoutError):
                while True:
                    self.assertEqual(self.received(stranger.accept()[0]), b"")

    def received(self, connection: socket.socket) -> bytes:
        """Return what the other side sent before it closed the connection, one way or the other."""
        with connection, contextlib.suppress(ConnectionResetError):
            return connection.recv(4096)
        return b""

    def test_asked_right_after_a_crash(self) -> None:
        """Who asks before the proxy knows that the model is dead gets an answer all the same, by the next process."""
        port = free_port()
        with ProxyUnderTest({"models": {"a": fake_model("a", port=port)}}) as proxy:
            proxy.served("a")
            for count in range(2, 12):
                os.kill(proxy.journal.events("start")[-1]["pid"], signal.SIGKILL)
                wait_until(lambda: self.refuses(port), 5)
                self.assertEqual(proxy.served("a"), "a")
                self.assertEqual(len(proxy.journal.events("start")), count)

    def refuses(self, port: int) -> bool:
        """Tell whether nobody listens there."""
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", port)) != 0

    def test_nobody_listens_any_more(self) -> None:
        """A model that lives, and yet refuses connections, is an error, and is not started anew."""
        model = fake_model("a")
        script = f'{model["cmd"]} & echo $! > "$0"; wait; exec sleep 60'
        pidfile = Path(self.mktemp()).absolute()
        pidfile.parent.mkdir(parents=True, exist_ok=True)
        model["cmd"] = f"sh -c {shlex.quote(script)} {shlex.quote(str(pidfile))}"
        with ProxyUnderTest({"models": {"a": model}}) as proxy:
            proxy.served("a")
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
            answer = proxy.chat("a")
            self.assertEqual(answer.status, 502)
            self.assertEqual(len(proxy.journal.events("start")), 1)

    def test_killed_while_idle(self) -> None:
        """A model that somebody kills is started again by the next request."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            pid = proxy.journal.events("start")[0]["pid"]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid) and proxy.running() == {}, 5)
            self.assertEqual(proxy.served("a"), "a")
