"""Prometheus' series, the hardware, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from llama_swap import __version__
from llama_swap.config.model import Config
from llama_swap.errors import UpstreamError
from llama_swap.metrics.hardware import History, Sample, look
from llama_swap.metrics.inventory import inventory
from llama_swap.metrics.records import Records, Retention
from llama_swap.metrics.rfc3339 import seconds_of
from llama_swap.metrics.watcher import HardwareWatch
from llama_swap.web.front import Front
from llama_swap.web.monitoring import MonitoringRoutes
from tests.fakes import Inline
from tests.fakes_web import FakeRouter, app_with, models, site_of
from tests.fakes_wire import Answer, Client

DASHBOARD = Path(__file__).parents[1] / "docs" / "grafana-dashboard.json"
GPU = {
    "timestamp": "1970-01-01T00:00:05Z",
    "id": 0,
    "name": 'Nice "GPU"',
    "uuid": "GPU-1",
    "temp_c": 50,
    "vram_temp_c": 0,
    "gpu_util_pct": 90,
    "mem_util_pct": 30,
    "mem_used_mb": 1000,
    "mem_total_mb": 24000,
    "fan_speed_pct": 40,
    "power_draw_w": 200.5,
}


def sample(now: float) -> Sample:
    """Return a look at this machine, with a GPU that it does not have."""
    return Sample(now, look(now).system, (GPU,))


class MonitoringCase(SynchronousTestCase):
    """The routes."""

    explore = staticmethod(Inline())
    """Asks the machine."""

    def make(self, *, disabled: bool = False) -> None:
        """Make the site."""
        self.clock = Clock()
        self.ahead = 0.0  # of the clock is the time of day
        self.watch = HardwareWatch(self.clock, Inline(), sample, lambda: self.clock.seconds() + self.ahead)
        retention = Retention(look_every=None if disabled else 5.0)
        self.records = Records.keep(self.clock, Inline(), retention, self.watch)
        self.router = FakeRouter(Config(models=models("a", "b")))
        routes = MonitoringRoutes(self.router.upstreams.states, self.records, expose=Inline(), explore=self.explore)
        self.site = site_of(Front(app_with(routes.add_to)))

    def setUp(self) -> None:
        self.make()

    def look(self, path: str) -> Answer:
        """Return what a client gets."""
        client = Client(self.site)
        client.ask("GET", path)
        return client.answer()

    def used(self) -> None:
        """Let something happen that each series has a value of."""
        for method, path in ((b"POST", b"/v1/chat/completions"),) * 3:
            request = self.records.in_flight.add(
                "a", method=method, path=path, fields=(), client=None, body=None, metered=True
            )
            request.grant()
            request.begin(200, ((b"Content-Type", b"text/event-stream"),), chunked=False)
            request.data(b'{"usage":{"prompt_tokens":5,"completion_tokens":7}}')
            request.over()
        answering = self.records.in_flight.add(
            "a", method=b"POST", path=b"/", fields=(), client=None, body=None, metered=True
        )
        answering.grant()
        refused = self.records.in_flight.add(
            "b", method=b"POST", path=b"/", fields=(), client=None, body=None, metered=True
        )
        refused.over(UpstreamError("no"))
        self.records.in_flight.add("b", method=b"GET", path=b"/", fields=(), client=None, body=None, metered=True)
        lives = self.records.lives
        lives.starting("a")
        lives.ready("a")
        lives.stopping("a", "b")
        lives.starting("b")
        lives.ready("b")
        lives.gone("b")
        lives.starting("b")
        lives.failed("b")
        self.router.upstreams.alive = {"a": "ready"}
        self.watch.startService()
        self.clock.advance(5)
        self.watch.stopService()
        self.records.settle()

    def series(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Return all series as Prometheus reads them: by name, and by the values of the labels in their order."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.look("/metrics").body.decode()):
            for one in family.samples:
                found.setdefault(one.name, {})[tuple(one.labels[label] for label in sorted(one.labels))] = one.value
        return found


class PrometheusTests(MonitoringCase):
    """GET /metrics."""

    def test_counts(self) -> None:
        """Requests, tokens, models."""
        self.used()
        found = self.series()
        self.assertEqual(found["llamaswap_requests_total"], {("200", "a"): 3, ("502", "b"): 1})
        self.assertEqual(found["llamaswap_tokens_total"]["output", "a"], 21)
        self.assertEqual(found["llamaswap_time_to_first_token_seconds_count"], {("a",): 3})
        self.assertEqual(found["llamaswap_queue_depth"], {("a",): 0, ("b",): 1})
        self.assertEqual(found["llamaswap_model_state"], {("a", "ready"): 1})
        self.assertEqual(found["llamaswap_evictions_total"]["a",], 1)
        self.assertEqual(found["llamaswap_load_failures_total"]["b",], 1)
        buckets = found["llamaswap_request_duration_seconds_bucket"]
        self.assertEqual((buckets["0.01", "a"], buckets["+Inf", "a"]), (3, 3))

    def test_odd(self) -> None:
        """What cannot be written is missing, and nothing else is."""
        self.used()
        before = self.series()
        self.records.tallies["\ud800"].failures += 1
        self.router.upstreams.alive["\udfff"] = "ready"
        self.assertEqual(self.series(), before)

    def test_hardware(self) -> None:
        """The names and labels of the original llama-swap."""
        self.used()
        found = self.series()
        for name in ("total", "used", "free"):
            self.assertGreater(found[f"llamaswap_memory_{name}_bytes"][()], 0)
        self.assertIn("llamaswap_swap_total_bytes", found)
        self.assertEqual(set(found["llamaswap_load_average"]), {("1m",), ("5m",), ("15m",)})
        self.assertIn(("0",), found["llamaswap_cpu_util_percent"])
        self.assertIn(("recv", "lo"), found["llamaswap_network_bytes_total"])
        self.assertEqual(found["llamaswap_gpu_memory_total_bytes"], {("0", 'Nice "GPU"', "GPU-1"): 24000 * 1024 * 1024})
        for name in ("temperature_celsius", "util_percent", "fan_speed_percent", "power_draw_watts"):
            self.assertIn(f"llamaswap_gpu_{name}", found)

    def test_before_anything(self) -> None:
        """At first there is nothing to count, and that can be read as well."""
        answer = self.look("/metrics")
        self.assertEqual((answer.status, answer["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertEqual(self.series(), {})

    def test_disabled(self) -> None:
        """Without a watch there is no such page, as ever."""
        self.make(disabled=True)
        self.assertEqual(self.look("/metrics").status, 503)
        answer = self.look("/api/performance")
        self.assertEqual((answer.status, json.loads(answer.body)), (503, {"enabled": False}))

    def test_reading_again(self) -> None:
        """Reading changes nothing."""
        self.used()
        self.assertEqual(self.series(), self.series())

    def test_dashboard(self) -> None:
        """Every expression of the dashboard names series that exist."""
        self.used()
        found = self.series()
        board = json.loads(DASHBOARD.read_text())
        expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        self.assertGreater(len(expressions), 10)
        for expression in expressions:
            names = re.findall(r"llamaswap_\w+", expression)
            self.assertTrue(names, expression)
            for name in names:
                self.assertIn(name, found, expression)


class HardwareTests(MonitoringCase):
    """GET /api/performance and /api/hardware."""

    def test_history(self) -> None:
        """Samples come at their interval; `after` leaves out what is known."""
        self.watch.startService()
        self.clock.pump([5] * 4)
        self.watch.stopService()
        found = json.loads(self.look("/api/performance").body)
        self.assertEqual((found["enabled"], len(found["sys_stats"]), len(found["gpu_stats"])), (True, 4, 4))
        self.assertEqual(found["sys_stats"][0]["timestamp"], "1970-01-01T00:00:05Z")
        self.assertGreater(found["sys_stats"][0]["mem_total_mb"], 0)
        later = json.loads(self.look("/api/performance?after=1970-01-01T00:00:10Z").body)
        self.assertEqual(len(later["sys_stats"]), 2)
        self.assertEqual(self.look("/api/performance?after=x").status, 400)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_time_of_day(self) -> None:
        """A sample has the time of day, whatever the clock counts from."""
        self.ahead = seconds_of("2026-01-02T03:04:00Z")
        self.watch.startService()
        self.clock.advance(5)
        self.watch.stopService()
        [found] = json.loads(self.look("/api/performance").body)["sys_stats"]
        self.assertEqual(found["timestamp"], "2026-01-02T03:04:05Z")

    def test_a_driver_hangs(self) -> None:
        """While a GPU's driver does not answer, the metrics are there nevertheless."""
        self.explore = lambda _: Deferred()
        self.make()
        client = Client(self.site)
        client.ask("GET", "/api/hardware")
        self.assertEqual(client.wire.take(), b"")
        self.assertEqual(self.look("/metrics").status, 200)
        client.leave()

    def test_known_already(self) -> None:
        """Who has a sample does not get it again by asking for those after its time, of which less is told than known:
        in between, nothing would have gone through the network."""
        self.ahead = 0.000_9
        self.watch.startService()
        self.clock.pump([5] * 2)
        first, last = json.loads(self.look("/api/performance").body)["sys_stats"]
        for known, after in ((first, [last]), (last, [])):
            found = json.loads(self.look(f"/api/performance?after={known['timestamp']}").body)
            self.assertEqual((found["sys_stats"], len(found["gpu_stats"])), (after, len(after)))
        self.watch.stopService()

    def test_an_hour(self) -> None:
        """Older samples are forgotten."""
        history = History(5.0)
        for number in range(1000):
            history.add(Sample(number * 5.0, {"number": number}, ()))
        found = json.loads(history.as_json(0))
        self.assertEqual((len(found["sys_stats"]), found["sys_stats"][0]["number"]), (720, 280))
        history.follow(7200.0)
        [latest] = json.loads(history.as_json(0))["sys_stats"]
        self.assertEqual(latest["number"], 999)

    def test_trouble(self) -> None:
        """A look that fails is tried again, and told once for as long as it fails in the same way."""
        looks: list[float] = []
        told: list[str] = []
        observer: Any = lambda event: told.append(event["reason"]) if "reason" in event else None  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

        def broken(now: float) -> Sample:
            looks.append(now)
            if now == 15:
                return sample(now)
            raise OSError("no")

        watch = HardwareWatch(self.clock, Inline(), broken, self.clock.seconds)
        watch.follow(5.0)
        watch.startService()
        self.clock.pump([5] * 2)
        assert watch.history is not None
        self.assertIsNone(watch.history.latest)
        self.clock.pump([5] * 3)
        watch.stopService()
        self.assertEqual((looks, told), ([5, 10, 15, 20, 25], ["no", "no"]))

    def test_reload(self) -> None:
        """It can be looked more often, or never, from now on; what was seen stays, unless nobody wants it."""
        self.watch.startService()
        self.clock.pump([5] * 2)
        for every, advance, expected in ((5.0, 1, 2), (10.0, 9, 2), (10.0, 1, 3), (30.0, 30, 4)):
            self.watch.follow(every)
            self.clock.advance(advance)
            self.assertEqual(len(json.loads(self.look("/api/performance").body)["sys_stats"]), expected)
        self.watch.follow(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([self.look(path).status for path in ("/api/performance", "/metrics")], [503, 503])
        self.watch.follow(5.0)
        self.assertEqual(json.loads(self.look("/api/performance").body)["sys_stats"], [])
        self.clock.advance(5)
        self.assertEqual(len(json.loads(self.look("/api/performance").body)["sys_stats"]), 1)
        self.watch.stopService()
        self.watch.follow(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_inventory(self) -> None:
        """The machine, in the form that others expect."""
        found: dict[str, Any] = json.loads(self.look("/api/hardware").body)
        self.assertEqual((found["schema_version"], found["capture"]["scope"]), (1, "inference_host"))
        self.assertIn(found["environment"]["kind"], {"native", "container", "virtual_machine", "wsl", "unknown"})
        self.assertEqual(found["operating_system"]["family"], "linux")
        self.assertGreater(found["memory"]["capacity_bytes"], 0)
        self.assertGreater(found["cpu"]["logical_thread_count"], 0)
        self.assertEqual(found["accelerators"], inventory()["accelerators"])

    def test_version(self) -> None:
        """Which llama-swap this is."""
        version = json.loads(self.look("/api/version").body)
        self.assertEqual(version, {"version": __version__, "commit": "", "build_date": ""})
