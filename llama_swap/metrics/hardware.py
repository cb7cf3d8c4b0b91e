"""Samples of the machine: processors, memory, network, GPUs.

Taking one may block, so it is done in a thread.  Names and units are those of the original llama-swap's API.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from llama_swap.metrics import drm, nvidia
from llama_swap.metrics.gpu import MB, Gpu
from llama_swap.metrics.rfc3339 import seconds_of, text_of

KEPT_FOR: Final = 3600.0
"""Seconds for which samples are kept."""


@frozen
class Sample:
    """The state of the hardware at one time."""

    taken: float
    """Seconds since the epoch."""
    system: Mapping[str, Any]
    gpus: tuple[Mapping[str, Any], ...]


class History:
    """The samples of the last hour, at least one, as JSON: small, and encoded only once."""

    def __init__(self, every: float) -> None:
        self._samples: deque[tuple[float, str, list[str]]] = deque()
        self.latest: Sample | None = None
        self.follow(every)

    def follow(self, every: float) -> None:
        """Adapt the number of samples to an interval of `every` seconds."""
        self._samples = deque(self._samples, maxlen=max(1, int(KEPT_FOR / every)))

    def add(self, sample: Sample) -> None:
        """Add the latest sample."""
        self.latest = sample
        taken = seconds_of(text_of(sample.taken))  # as it is told: who asks for what came after has this one
        self._samples.append((taken, json.dumps(sample.system), [json.dumps(gpu) for gpu in sample.gpus]))

    def as_json(self, after: float) -> str:
        """Return all samples taken after `after`, in seconds since the epoch, in the form of the API."""
        wanted = [sample for sample in self._samples if sample[0] > after]
        systems = ", ".join(system for _, system, _ in wanted)
        gpus = ", ".join(gpu for _, _, all_ in wanted for gpu in all_)
        return f'{{"enabled": true, "sys_stats": [{systems}], "gpu_stats": [{gpus}]}}'


def look(now: float) -> Sample:
    """Take a sample; `now` is in seconds since the epoch."""
    timestamp = text_of(now)
    seen = tuple({"timestamp": timestamp, **gpu.as_sample(number)} for number, gpu in enumerate(gpus()))
    return Sample(now, {"timestamp": timestamp, **_system()}, seen)


def _system() -> dict[str, Any]:
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    load = os.getloadavg()
    return {
        "cpu_util_per_core": psutil.cpu_percent(percpu=True),  # since the last call; zeros at the first
        "mem_total_mb": memory.total // MB,
        "mem_used_mb": memory.used // MB,
        "mem_free_mb": memory.free // MB,
        "swap_total_mb": swap.total // MB,
        "swap_used_mb": swap.used // MB,
        "load_avg_1": load[0],
        "load_avg_5": load[1],
        "load_avg_15": load[2],
        "net_io": [
            {"name": name, "bytes_recv": counts.bytes_recv, "bytes_sent": counts.bytes_sent}
            for name, counts in sorted(psutil.net_io_counters(pernic=True).items())
        ],
    }


def gpus() -> list[Gpu]:
    """Return all GPUs.  This may block."""
    return [*nvidia.gpus(), *drm.gpus()]
