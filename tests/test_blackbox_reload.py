"""Reload by difference: what is unchanged goes on, what is changed gives way, and a bad file changes nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import FAKELLM, ProxyUnderTest, fake_model, fake_models
from tests.support_client import at_once
from tests.support_processes import free_port, open_files, resident_memory, wait_until
from tests.support_tls import make_certificates

RELOADED = "configuration reloaded"
NOT_RELOADED = "not reloaded"


def write(proxy: ProxyUnderTest, config: Mapping[str, Any] | str) -> None:
    """Write another configuration over the first."""
    proxy.config_path.write_text(config if isinstance(config, str) else json.dumps(config))


def reload(proxy: ProxyUnderTest, config: Mapping[str, Any] | str, outcome: str = RELOADED) -> None:
    """Have another configuration read, and wait until that is done."""
    before = proxy.log().count(outcome)
    write(proxy, config)
    proxy.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.log().count(outcome) > before, 10, outcome)


def with_port(name: str, knobs: str = "", **config: Any) -> dict[str, Any]:
    """Return an entry of `models` whose port is given by the proxy."""
    return {"cmd": f"{FAKELLM} --port ${{PORT}} --model {name} {knobs}", **config}


class ReloadTests(SynchronousTestCase):
    """SIGHUP."""

    def test_what_this_machine_lacks(self) -> None:
        """What `check` would warn of is in the log after the start, and after each reload, with its place."""
        models = "models:\n  a:\n    cmd: {} --port ${{PORT}}\n"
        with ProxyUnderTest(models.format("no-such-program")) as proxy:
            proxy.wait_for_log(
                f"[INFO] {proxy.config_path}: 1 model; web interface: http://127.0.0.1:{proxy.port}/ui\n"
            )
            place = f"[WARN] {proxy.config_path}:3: models.a.cmd: there is no program "
            proxy.wait_for_log(f"{place}'no-such-program' here")
            reload(proxy, models.format("no-other-program"))
            proxy.wait_for_log(f"{place}'no-other-program' here")

    def test_unchanged_stream(self) -> None:
        """A stream of an unchanged model goes on to its end, while other models come, change and go."""
        a, b = fake_model("a", "--stream 12@150"), fake_model("b")
        with ProxyUnderTest({"models": {"a": a, "b": b}}) as proxy:
            with proxy.stream("a") as stream:
                events = stream.events()
                next(events)
                reload(proxy, {"models": {"a": a, "b": fake_model("b", "--load-delay 0.1"), "c": fake_model("c")}})
                reload(proxy, {"models": {"a": a, "c": fake_model("c")}})
                self.assertEqual([data for _, data in events][-1], b"[DONE]")
            self.assertEqual(len(proxy.journal.events("start", "a")), 1)
            self.assertEqual(proxy.served("c"), "c")
            self.assertEqual(proxy.chat("b").status, 404)

    def test_changed(self) -> None:
        """A changed model ends its stream; meanwhile nobody gets an answer of the old one, or a second process."""
        old = fake_model("old", "--stream 10@100")
        port = int(old["proxy"].rpartition(":")[2])
        with ProxyUnderTest({"models": {"m": old}}) as proxy:
            with proxy.stream("m") as stream, at_once(3) as clients:
                events = stream.events()
                next(events)
                reload(proxy, {"models": {"m": fake_model("new", port=port)}})
                later = [clients.submit(proxy.served, "m") for _ in range(3)]
                self.assertEqual([data for _, data in events][-1], b"[DONE]")
                self.assertEqual([each.result() for each in later], ["new"] * 3)
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_removed(self) -> None:
        """A removed model finishes its stream, is refused to others, and is gone then."""
        models = {"a": fake_model("a", "--stream 8@100"), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy:
            with proxy.stream("a") as stream:
                events = stream.events()
                next(events)
                reload(proxy, {"models": {"b": models["b"]}})
                self.assertEqual(proxy.chat("a").status, 404)
                self.assertEqual(proxy.running(), {"a": "ready"})
                self.assertEqual([data for _, data in events][-1], b"[DONE]")
            wait_until(lambda: not proxy.running(), 5, "the end of a")

    def test_ports_stay(self) -> None:
        """A known model keeps its `${PORT}` and its process, though new ones come before it in the alphabet."""
        start = free_port()
        with ProxyUnderTest({"startPort": start, "models": {"m": with_port("m"), "n": with_port("n")}}) as proxy:
            self.assertEqual(proxy.served("n"), "n")
            before = proxy.get("/running").json()
            models = {name: with_port(name) for name in ("a", "b", "m", "n", "z")}
            reload(proxy, {"startPort": start, "models": models})
            self.assertEqual(proxy.get("/running").json(), before)
            self.assertEqual([proxy.served(name) for name in models], list(models))
            self.assertEqual(len(proxy.journal.events("start", "n")), 2)

    def test_bad_files(self) -> None:
        """A file that cannot be used is one warning; the old configuration serves, and the next good edit works."""
        good = fake_models("a")
        twice = {"models": {name: fake_model(name, aliases=["x"]) for name in "ab"}}
        with ProxyUnderTest(good) as proxy:
            self.assertEqual(proxy.served("a"), "a")
            for bad in (json.dumps(good)[:-20], json.dumps(twice), "[" * 20_000, ""):
                warnings = proxy.log().count("[WARN]")
                reload(proxy, bad, NOT_RELOADED)
                self.assertEqual(proxy.log().count("[WARN]"), warnings + 1)
                self.assertEqual(proxy.served("a"), "a")
            self.assertEqual(len(proxy.journal.events("start", "a")), 1)
            reload(proxy, {"models": {**good["models"], "new": fake_model("new")}})
            self.assertEqual(proxy.served("new"), "new")

    def test_hangups_under_load(self) -> None:
        """Twenty signals within a second, while clients keep a model busy: nobody notices."""
        with ProxyUnderTest({"models": {"a": fake_model("a", concurrencyLimit=100)}}) as proxy, at_once(4) as clients:
            proxy.served("a")
            end = time.monotonic() + 1.5

            def asking() -> list[int]:
                statuses = []
                while time.monotonic() < end:
                    statuses.append(proxy.chat("a").status)
                return statuses

            busy = [clients.submit(asking) for _ in range(4)]
            for _ in range(20):
                proxy.send_signal(signal.SIGHUP)
                time.sleep(0.04)
            self.assertEqual({status for each in busy for status in each.result()}, {200})
            wait_until(lambda: RELOADED in proxy.log(), 5, RELOADED)
            self.assertTrue(1 <= proxy.log().count(RELOADED) <= 20)
            self.assertEqual(len(proxy.journal.events("start", "a")), 1)

    def test_listen(self) -> None:
        """Another `listen` is moved to: what runs ends where it began, and nobody new comes in there."""
        old, new, taken = free_port(), free_port(), free_port()
        a, b = {"models": {"a": fake_model("a", "--stream 12@150")}}, fake_models("b")
        with ProxyUnderTest({**a, "listen": f"127.0.0.1:{old}"}, "--listen", "") as proxy:
            with proxy.stream("a") as stream:
                events = stream.events()
                next(events)
                reload(proxy, {**a, "listen": f"127.0.0.1:{new}"}, f"listening on http://127.0.0.1:{new} from now on")
                with self.assertRaises(ConnectionRefusedError):
                    proxy.get("/health")
                proxy.port = new
                self.assertEqual(proxy.running(), {"a": "ready"})
                self.assertEqual([data for _, data in events][-1], b"[DONE]")
            with socket.create_server(("127.0.0.1", taken)):
                stays = f"[ERROR] `listen` has changed, but stays 127.0.0.1:{new} until the next start: "
                reload(proxy, {**b, "listen": f"127.0.0.1:{taken}"}, stays)
                self.assertIn("Address already in use", proxy.log().partition(stays)[2])
                self.assertEqual(proxy.served("b"), "b")
            reload(proxy, {**b, "listen": f"127.0.0.1:{taken}"}, f"listening on http://127.0.0.1:{taken} from now on")
            proxy.port = taken
            self.assertEqual(proxy.served("b"), "b")
            stays = (
                f"[WARN] `listen` is gone from the file; staying on 127.0.0.1:{taken} until a restart, which goes to "
            )
            for mistyped in ({}, {"listen": "nonsense"}):
                told = proxy.log().count(stays)
                reload(proxy, {**b, **mistyped})
                self.assertEqual((proxy.served("b"), proxy.log().count(stays)), ("b", told + 1))

    def test_listen_of_the_command_line(self) -> None:
        """What the command line says wins over a `listen` that comes later."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            reload(proxy, fake_models("b", listen="127.0.0.1:1"))
            self.assertNotIn("listen`", proxy.log())
            self.assertEqual(proxy.served("b"), "b")

    def test_monitoring(self) -> None:
        """What is kept of requests, and whether the hardware is watched, changes."""
        with ProxyUnderTest(fake_models("a", performance={"disabled": True})) as proxy:
            self.assertEqual(proxy.get("/metrics").status, 503)
            proxy.served("a")
            self.assertEqual(self.latest(proxy)["has_capture"], True)
            everything = {"captureBuffer": 0, "ui": {"activity": {"session_id": ["User-Agent"]}}}
            reload(proxy, fake_models("a", **everything))
            self.assertEqual(proxy.get("/metrics").status, 200)
            proxy.ask("POST", "/v1/chat/completions", {"model": "a"}, {"User-Agent": "session-1"})
            entry = self.latest(proxy)
            self.assertEqual((entry["id"], entry["has_capture"]), (2, False))
            self.assertEqual(entry["metadata"], {"session_id": "session-1"})

    def test_store(self) -> None:
        """Another store is opened, and gets what follows; one that cannot be used keeps the configuration as it was."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            first, second = proxy.directory / "1.db", proxy.directory / "2.db"
            proxy.served("a")
            for path in (first, second, first):
                reload(proxy, fake_models("a", store={"path": str(path)}))
                proxy.served("a")
                self.assertEqual(self.latest(proxy)["model"], "a")
            reload(
                proxy, fake_models("a", "b", store={"path": str(proxy.directory / "nowhere" / "3.db")}), NOT_RELOADED
            )
            self.assertRegex(
                proxy.log(), r"the configuration stays as it was: \S+:\d+: store\.path: \S+/nowhere/3\.db cannot"
            )
            self.assertEqual(proxy.chat("b").status, 404)
            reload(proxy, fake_models("a"))
            self.assertEqual(proxy.get("/api/metrics/activity").json()["total"], 0)
            for path, numbers in ((first, [2, 4]), (second, [3])):
                with closing(sqlite3.connect(path)) as database:
                    rows = database.execute("SELECT id FROM activity ORDER BY id").fetchall()
                self.assertEqual([number for [number] in rows], numbers)

    def latest(self, proxy: ProxyUnderTest) -> dict[str, Any]:
        """Return the latest entry of the activity."""
        entry: dict[str, Any] = proxy.get("/api/metrics/activity?limit=1").json()["data"][0]
        return entry

    def test_leaks(self) -> None:
        """Two hundred reloads of twenty models cost no file descriptor, and next to no memory."""
        even, odd = (fake_models(*(f"m{number + shift}" for number in range(20))) for shift in (0, 10))
        with ProxyUnderTest(even) as proxy:
            for config in (even, odd) * 5:
                reload(proxy, config)
            files, memory = open_files(proxy.pid), resident_memory(proxy.pid)
            for config in (even, odd) * 100:
                reload(proxy, config)
            self.assertEqual(open_files(proxy.pid), files)
            self.assertLess(resident_memory(proxy.pid) - memory, 20 * 1024 * 1024)

    def test_daemon_door(self) -> None:
        """The service of twistd reloads as well, wherever it has gone."""
        with ProxyUnderTest(fake_models("a"), "--config", "config.yaml", twistd=True, rundir="/") as proxy:
            reload(proxy, fake_models("b"))
            self.assertEqual(proxy.served("b"), "b")


class WatchTests(SynchronousTestCase):
    """`--watch-config`, and `--config-dir`."""

    def assert_seen(self, proxy: ProxyUnderTest, served: str) -> None:
        """Within five seconds a new model is served, after one reload."""
        before = proxy.log().count(RELOADED)
        wait_until(lambda: proxy.log().count(RELOADED) > before, 5, RELOADED)
        self.assertEqual(proxy.served(served), served)
        self.assertEqual(proxy.log().count(RELOADED), before + 1)

    def test_edits(self) -> None:
        """Files are seen to change, in place or replaced, and those that come into the directory."""
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            (directory / "a.yaml").write_text(json.dumps(fake_models("a")))
            with ProxyUnderTest(fake_models("m"), "-watch-config", "-config-dir", name) as proxy:
                self.assertEqual([proxy.served("a"), proxy.served("m")], ["a", "m"])
                write(proxy, fake_models("in-place"))
                self.assert_seen(proxy, "in-place")
                (directory / "b.yml").write_text(json.dumps(fake_models("b")))
                self.assert_seen(proxy, "b")
                (directory / ".new").write_text(json.dumps(fake_models("replaced")))
                (directory / ".new").rename(directory / "a.yaml")
                self.assert_seen(proxy, "replaced")
                self.assertEqual(proxy.chat("a").status, 404)

    def test_certificate(self) -> None:
        """The certificate of the address that a reload has moved to is watched."""
        with tempfile.TemporaryDirectory() as name:
            files = make_certificates(Path(name))
            listen = f"ssl:0:interface=127.0.0.1:certKey={files.certificate}:privateKey={files.key}"
            with ProxyUnderTest(fake_models("a"), "-watch-config", "-listen", "") as proxy:
                reload(proxy, {**fake_models("a"), "listen": listen})
                os.utime(files.certificate)
                wait_until(lambda: proxy.log().count(RELOADED) > 1, 5, RELOADED)
                self.assertEqual(proxy.log().count(RELOADED), 2)

    def test_daemon_door(self) -> None:
        """The service of twistd watches as well, wherever it has gone."""
        options = ("--config", "config.yaml", "--watch-config")
        with ProxyUnderTest(fake_models("m"), *options, twistd=True, rundir="/") as proxy:
            write(proxy, fake_models("n"))
            self.assert_seen(proxy, "n")
