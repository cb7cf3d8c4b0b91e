"""The metrics for Prometheus: counts of requests, tokens, swaps and models, and the state of the hardware.

The official client library formats them, from `Tallies` and the latest sample of the hardware.  It is large, so it is
imported with the first scrape; all of this runs in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from llama_swap.metrics.gpu import MB
from llama_swap.metrics.hardware import Sample
from llama_swap.metrics.tallies import SECONDS, Histogram, ModelTallies, Tallies

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
GPU_LABELS: Final = ("id", "name", "uuid")


@frozen
class Now:
    """The state at the moment of a scrape, by model."""

    states: Mapping[str, str]
    """States of the models that are not stopped."""
    waiting: Mapping[str, int]
    """The number of queued requests."""
    answering: Mapping[str, int]
    """Requests that have had their turn, and are not over."""


def expose(tallies: Tallies, now: Now, sample: Sample | None) -> bytes:
    """Return all series in Prometheus' text format 0.0.4.  This may block."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collected:
        def collect(self) -> Iterable[Metric]:
            return map(_writable, _everything(tallies, now, sample))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    return generate_latest(registry)


def _everything(tallies: Tallies, now: Now, sample: Sample | None) -> Iterable[Metric]:
    yield from _of_requests(tallies)
    yield from _of_models(tallies)
    yield from _of_now(now, [model for model, _ in _sorted(tallies)])
    if sample is not None:
        yield from _of_system(sample.system)
        yield from _of_gpus(sample.gpus)


def _writable(family: Metric) -> Metric:
    """Return `family` without what UTF-8 cannot encode, which would make the whole scrape fail."""
    family.samples = [one for one in family.samples if all(map(_is_text, one.labels.values()))]
    return family


def _is_text(label: str) -> bool:
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_requests(tallies: Tallies) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily

    requests = CounterMetricFamily(
        "llamaswap_requests", "Inferences that are over, by the status that the client got", labels=["model", "code"]
    )
    errors = CounterMetricFamily(
        "llamaswap_request_errors", "Inferences that failed or broke off, by the error", labels=["model", "error"]
    )
    tokens = CounterMetricFamily(
        "llamaswap_tokens",
        "Tokens as the model's server counted them: input, output, cached, drafted, accepted",
        labels=["model", "kind"],
    )
    for model, tally in _sorted(tallies):
        for status, count in sorted(tally.requests.items()):
            requests.add_metric([model, str(status)], count)
        for code, count in sorted(tally.errors.items()):
            errors.add_metric([model, code], count)
        for kind in ("input", "output", "cached", "drafted", "accepted"):
            tokens.add_metric([model, kind], getattr(tally, f"{kind}_tokens"))
    yield from (requests, errors, tokens)
    yield _histogram(
        tallies,
        "request_duration",
        "From a request's coming to the end of its answer",
        lambda tally: tally.duration,
    )
    yield _histogram(
        tallies,
        "time_to_first_token",
        "From the coming of a request to the first byte of its answer, if that is streamed",
        lambda tally: tally.first_byte,
    )
    yield _histogram(
        tallies, "queue_wait", "From the coming of a request to its turn, loading included", lambda tally: tally.waiting
    )


def _of_models(tallies: Tallies) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily

    yield _histogram(tallies, "load_duration", "From a model's start to its being ready", lambda tally: tally.loads)
    yield _histogram(
        tallies,
        "swap_duration",
        "From the first order to stop a model in the way to the first healthy answer of its successor",
        lambda tally: tally.swaps,
    )
    counts: tuple[tuple[str, str, Callable[[ModelTallies], int]], ...] = (
        ("loads", "Loads that succeeded", lambda tally: sum(tally.loads.buckets)),
        ("swaps", "Loads for which other models had to go", lambda tally: sum(tally.swaps.buckets)),
        ("load_failures", "Loads that failed", lambda tally: tally.failures),
        ("crashes", "Processes that ended although nobody had asked for it", lambda tally: tally.crashes),
        ("evictions", "Processes that were stopped for another model", lambda tally: tally.evictions),
    )
    for name, text, count in counts:
        family = CounterMetricFamily(f"llamaswap_{name}", text, labels=["model"])
        for model, tally in _sorted(tallies):
            family.add_metric([model], count(tally))
        yield family


def _of_now(now: Now, seen: Iterable[str]) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    states = GaugeMetricFamily("llamaswap_model_state", "1 for each loaded model", labels=["model", "state"])
    for model, state in sorted(now.states.items()):
        states.add_metric([model, state], 1)
    yield states
    for name, text, counts in (
        ("queue_depth", "Requests that wait for their turn", now.waiting),
        ("requests_in_flight", "Requests that are being answered", now.answering),
    ):
        family = GaugeMetricFamily(f"llamaswap_{name}", text, labels=["model"])
        for model in sorted({*seen, *now.states, *counts}):  # zeros too: a gap would look as if the proxy were down
            family.add_metric([model], counts.get(model, 0))
        yield family


def _of_system(system: Mapping[str, Any]) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    cores = GaugeMetricFamily("llamaswap_cpu_util_percent", "CPU utilization by core, 0-100", labels=["core"])
    for core, percent in enumerate(system["cpu_util_per_core"]):
        cores.add_metric([str(core)], percent)
    yield cores
    for name, text, key in (
        ("memory_total", "Memory", "mem_total_mb"),
        ("memory_used", "Memory in use", "mem_used_mb"),
        ("memory_free", "Memory not in use", "mem_free_mb"),
        ("swap_total", "Swap space", "swap_total_mb"),
        ("swap_used", "Swap space in use", "swap_used_mb"),
    ):
        yield GaugeMetricFamily(f"llamaswap_{name}_bytes", f"{text}, in bytes", value=system[key] * MB)
    load = GaugeMetricFamily("llamaswap_load_average", "Load average", labels=["interval"])
    for minutes in (1, 5, 15):
        load.add_metric([f"{minutes}m"], system[f"load_avg_{minutes}"])
    yield load
    network = CounterMetricFamily(
        "llamaswap_network_bytes", "Bytes through the network", labels=["interface", "direction"]
    )
    for interface in system["net_io"]:
        network.add_metric([interface["name"], "recv"], interface["bytes_recv"])
        network.add_metric([interface["name"], "sent"], interface["bytes_sent"])
    yield network


def _of_gpus(gpus: Iterable[Mapping[str, Any]]) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    for name, text, key, factor in (
        ("temperature_celsius", "GPU temperature", "temp_c", 1),
        ("vram_temperature_celsius", "GPU memory temperature", "vram_temp_c", 1),
        ("util_percent", "GPU utilization, 0-100", "gpu_util_pct", 1),
        ("memory_util_percent", "GPU memory utilization, 0-100", "mem_util_pct", 1),
        ("memory_used_bytes", "GPU memory in use", "mem_used_mb", MB),
        ("memory_total_bytes", "GPU memory", "mem_total_mb", MB),
        ("fan_speed_percent", "GPU fan speed, 0-100", "fan_speed_pct", 1),
        ("power_draw_watts", "GPU power draw", "power_draw_w", 1),
    ):
        family = GaugeMetricFamily(f"llamaswap_gpu_{name}", text, labels=GPU_LABELS)
        for gpu in gpus:
            family.add_metric([str(gpu[label]) for label in GPU_LABELS], gpu[key] * factor)
        yield family


def _histogram(tallies: Tallies, name: str, text: str, histogram_of: Callable[[ModelTallies], Histogram]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"llamaswap_{name}_seconds", text, labels=["model"])
    for model, tally in _sorted(tallies):
        histogram = histogram_of(tally)
        counts = list(histogram.buckets)
        if any(counts):
            so_far = [sum(counts[: number + 1]) for number in range(len(counts))]
            bounds = [*map(str, SECONDS), "+Inf"]
            family.add_metric([model], list(zip(bounds, so_far, strict=True)), histogram.total)
    return family


def _sorted(tallies: Tallies) -> list[tuple[str, ModelTallies]]:
    return sorted(tallies.copy().items(), key=lambda item: item[0])
