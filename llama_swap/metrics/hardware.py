"""A look at the machine: processors, memory, network, and NVIDIA's GPUs.

All of this may block, so it runs in a thread.  Names and units are those of the original llama-swap's API.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from llama_swap.metrics.rfc3339 import text_of

MB: Final = 1024 * 1024
KEPT_FOR: Final = 3600.0
"""Seconds for which samples are kept."""


@frozen
class Sample:
    """One look."""

    taken: float
    """Seconds since the epoch."""
    system: Mapping[str, Any]
    gpus: tuple[Mapping[str, Any], ...]


class History:
    """The samples of the last hour, as JSON: so they are small, and need not be made again for each reader."""

    def __init__(self, every: float) -> None:
        self._samples: deque[tuple[float, str, list[str]]] = deque()
        self.latest: Sample | None = None
        self.follow(every)

    def follow(self, every: float) -> None:
        """One is added every so many seconds from now on."""
        self._samples = deque(self._samples, maxlen=int(KEPT_FOR / every))

    def add(self, sample: Sample) -> None:
        """Add the latest one."""
        self.latest = sample
        self._samples.append((sample.taken, json.dumps(sample.system), [json.dumps(gpu) for gpu in sample.gpus]))

    def as_json(self, after: float) -> str:
        """Return all samples that were taken after a time."""
        wanted = [sample for sample in self._samples if sample[0] > after]
        systems = ", ".join(system for _, system, _ in wanted)
        gpus = ", ".join(gpu for _, _, all_ in wanted for gpu in all_)
        return f'{{"enabled": true, "sys_stats": [{systems}], "gpu_stats": [{gpus}]}}'


def look(now: float) -> Sample:
    """Look at everything."""
    timestamp = text_of(now)
    return Sample(now, {"timestamp": timestamp, **_system()}, tuple({"timestamp": timestamp, **gpu} for gpu in gpus()))


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


def gpus() -> list[dict[str, Any]]:
    """Look at NVIDIA's GPUs; there are none where its library is not installed, or finds none."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()  # again and again: a driver may be updated, and a GPU fall off its bus
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, number: int) -> dict[str, Any]:
    device = nvml.nvmlDeviceGetHandleByIndex(number)

    def ask(name: str, *arguments: Any) -> Any:
        """Return what the driver says; None where this GPU has nothing to say about it."""
        try:
            return getattr(nvml, f"nvmlDeviceGet{name}")(device, *arguments)
        except nvml.NVMLError:
            return None

    memory, use = ask("MemoryInfo"), ask("UtilizationRates")
    return {
        "id": number,
        "name": _text(ask("Name")),
        "uuid": _text(ask("UUID")),
        "temp_c": ask("Temperature", nvml.NVML_TEMPERATURE_GPU) or 0,
        "vram_temp_c": 0,  # which NVML does not tell
        "gpu_util_pct": use.gpu if use else 0,
        "mem_util_pct": use.memory if use else 0,
        "mem_used_mb": memory.used // MB if memory else 0,
        "mem_total_mb": memory.total // MB if memory else 0,
        "fan_speed_pct": ask("FanSpeed") or 0,
        "power_draw_w": (ask("PowerUsage") or 0) / 1000,
        "power_limit_w": (ask("EnforcedPowerLimit") or 0) / 1000,
        "driver": _text(nvml.nvmlSystemGetDriverVersion()),
    }


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
