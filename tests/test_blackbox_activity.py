"""Activity, from outside: counted, kept in a file, and still there after the worst."""

from __future__ import annotations

import sqlite3
import stat
import time
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Timer

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models, run_proxy
from tests.support_client import CUT, at_once
from tests.support_processes import resident_memory, wait_until


class ActivityTests(SynchronousTestCase):
    """The whole program keeps records."""

    def test_killed(self) -> None:
        """After SIGKILL amid requests the file is whole, and at most the last second is missing."""
        path = Path(self.mktemp()).absolute()
        answered: list[float] = []
        models = {"a": fake_model("a", "--first-byte-delay 0.02")}
        with ProxyUnderTest({"models": models, "store": {"path": str(path)}}) as proxy, at_once(8) as clients:
            proxy.served("a")

            def ask(_: int) -> None:
                try:
                    proxy.served("a")
                except (*CUT, OSError):
                    return
                answered.append(time.time())

            asking = [clients.submit(ask, number) for number in range(1000)]
            wait_until(lambda: len(answered) > 600, 60, "six hundred answers")
            proxy.kill()
            killed = time.time()
            for each in asking:
                each.result()
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        with sqlite3.connect(path) as database:
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            rows = database.execute("SELECT id, model_id, resp_status_code FROM activity ORDER BY id").fetchall()
        database.close()
        self.assertEqual([row[0] for row in rows], list(range(1, len(rows) + 1)))
        self.assertEqual({row[1:] for row in rows}, {("a", 200)})
        self.assertGreaterEqual(len(rows), sum(when < killed - 1 for when in answered))

    def test_goes_on(self) -> None:
        """What was recorded before the proxy ended, down to the last request, is there after its next start."""
        path = Path(self.mktemp()).absolute()
        config = fake_models("a", "b", store={"path": str(path)})
        for _ in range(2):
            with ProxyUnderTest(config) as proxy:
                proxy.served("a")
                proxy.served("b")
        with ProxyUnderTest(config) as proxy:
            page = proxy.get("/api/metrics/activity?order=asc").json()
            self.assertEqual([(entry["id"], entry["model"]) for entry in page["data"]], [*enumerate("abab", 1)])
            self.assertEqual(page["data"][0]["has_capture"], False)

    def test_slow_disk_at_the_end(self) -> None:
        """The end waits for a file that cannot be written at once, here because another program writes to it."""
        path = Path(self.mktemp()).absolute()
        with (
            ProxyUnderTest(fake_models("a", store={"path": str(path)})) as proxy,
            closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            proxy.served("a")
            finished = Timer(1, other.execute, ["COMMIT"])
            finished.start()
            proxy.stop()
            finished.join()
            self.assertEqual(other.execute("SELECT model_id FROM activity").fetchall(), [("a",)])

    def test_unusable_file(self) -> None:
        """A file that cannot be written ends the start with a message."""
        config = Path(self.mktemp()).absolute()
        config.write_text("store: {path: /nowhere/activity.db}\nmodels: {a: {cmd: x --port 1}}\n")
        for twistd in (False, True):
            done = run_proxy("--config", str(config), "--listen", "127.0.0.1:0", twistd=twistd)
            self.assertEqual(done.returncode, 1)
            self.assertIn("store.path: /nowhere/activity.db cannot be used", done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class MemoryTests(SynchronousTestCase):
    """What is kept is bounded."""

    def test_captures(self) -> None:
        """A hundred megabytes of questions and answers leave no more than the captures have room for."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo")}}) as proxy, at_once(4) as clients:
            question = {"model": "a", "messages": [{"role": "user", "content": "x" * 100_000}]}

            def ask(_: int) -> int:
                return len(proxy.post("/v1/chat/completions", question).body)

            list(clients.map(ask, range(20)))
            before = resident_memory(proxy.pid)
            self.assertGreater(sum(clients.map(ask, range(500))), 50_000_000)
            self.assertLess(resident_memory(proxy.pid) - before, 20_000_000)
            entries = proxy.get("/api/metrics/activity?limit=999").json()["data"]
            kept = sum(entry["has_capture"] for entry in entries)
            self.assertTrue(5 < kept < 30, kept)

    def test_slow_observers(self) -> None:
        """Those who listen to events and do not read cost nothing that grows, and hold up nobody."""
        with ProxyUnderTest(fake_models("a")) as proxy, ExitStack() as listening:
            for _ in range(20):
                listening.enter_context(proxy.reading("/api/events"))
            with at_once(4) as clients:
                list(clients.map(proxy.served, ["a"] * 200))
                before = resident_memory(proxy.pid)
                self.assertEqual(set(clients.map(proxy.served, ["a"] * 1000)), {"a"})
            self.assertLess(resident_memory(proxy.pid) - before, 20_000_000)


class MonitoringTests(SynchronousTestCase):
    """What others see of the whole program."""

    def test_prometheus(self) -> None:
        """A load, a swap, tokens and an error are counted."""
        models = {"a": fake_model("a"), "b": fake_model("b"), "c": fake_model("c", "--exit-after 0 --load-delay 60")}
        with ProxyUnderTest({"models": models}) as proxy:
            proxy.served("a")
            proxy.served("b")
            self.assertEqual(proxy.chat("c").status, 502)
            page = proxy.get("/metrics").body.decode()
        for line in (
            'llamaswap_requests_total{code="200",model="b"} 1.0',
            'llamaswap_requests_total{code="502",model="c"} 1.0',
            'llamaswap_swaps_total{model="b"} 1.0',
            'llamaswap_evictions_total{model="a"} 1.0',
            'llamaswap_load_failures_total{model="c"} 1.0',
            'llamaswap_crashes_total{model="a"} 0.0',
        ):
            self.assertIn(f"{line}\n", page)

    def test_events(self) -> None:
        """A load shows as it happens; the end of the proxy ends the stream."""
        with ProxyUnderTest(fake_models("a")) as proxy, proxy.reading("/api/events") as events:
            lines = events.lines()
            with at_once(1) as clients:
                clients.submit(proxy.served, "a")
                self.assertTrue(any(b'\\"state\\": \\"ready\\"' in line for _, line in lines))
            self.assertLess(proxy.stop(), 5)
