"""NVIDIA's GPUs, from its library (NVML), or from nvidia-smi where that is not installed.

https://docs.nvidia.com/deploy/nvml-api/ , https://docs.nvidia.com/deploy/nvidia-smi/
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

from attrs import define

from llama_swap.metrics.gpu import MB, Gpu

TOOL: Final = "nvidia-smi"
PATIENCE: Final = 10.0
"""Seconds that nvidia-smi may take."""
TRIES: Final = 3
"""How often in a row it may find nothing until it is not run for a while."""
REST: Final = 300.0
"""Seconds for which it is then not run."""
_COLUMNS: Final = {
    "name": "name",
    "uuid": "uuid",
    "driver_version": "driver_version",
    "temp_c": "temperature.gpu",
    "vram_temp_c": "temperature.memory",
    "gpu_util_pct": "utilization.gpu",
    "mem_util_pct": "utilization.memory",
    "mem_used_mb": "memory.used",
    "mem_total_mb": "memory.total",
    "fan_speed_pct": "fan.speed",
    "power_draw_w": "power.draw",
    "power_limit_w": "power.limit",
}
"""Our names, and those of nvidia-smi."""
_TEXTS: Final = ("name", "uuid", "driver_version")


def gpus() -> list[Gpu]:
    """Return all GPUs of NVIDIA; none if there is neither library nor tool, or if they fail.  This may block."""
    try:
        import pynvml
    except ImportError:
        return _tool.gpus()
    try:
        pynvml.nvmlInit()  # each time: a driver may be updated, and a GPU may fall off its bus
    except pynvml.NVMLError:
        return []
    try:
        return [_by_the_library(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _by_the_library(nvml: Any, number: int) -> Gpu:
    device = nvml.nvmlDeviceGetHandleByIndex(number)

    def ask(name: str, *arguments: Any) -> Any:
        """Return the driver's value; None where this GPU does not have it."""
        try:
            return getattr(nvml, f"nvmlDeviceGet{name}")(device, *arguments)
        except nvml.NVMLError:
            return None

    memory, use = ask("MemoryInfo"), ask("UtilizationRates")
    return Gpu(
        vendor="NVIDIA",
        name=_text(ask("Name")),
        uuid=_text(ask("UUID")),
        driver="nvidia",
        driver_version=_text(nvml.nvmlSystemGetDriverVersion()),
        temp_c=ask("Temperature", nvml.NVML_TEMPERATURE_GPU) or 0,
        gpu_util_pct=use.gpu if use else 0,
        mem_util_pct=use.memory if use else 0,
        mem_used_mb=memory.used // MB if memory else 0,
        mem_total_mb=memory.total // MB if memory else 0,
        fan_speed_pct=ask("FanSpeed") or 0,
        power_draw_w=(ask("PowerUsage") or 0) / 1000,
        power_limit_w=(ask("EnforcedPowerLimit") or 0) / 1000,
    )


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


@define
class Tool:
    """Runs nvidia-smi, a process each time, so rarely where it finds nothing, as without a driver."""

    _seconds: Callable[[], float] = time.monotonic
    _in_vain: int = 0
    _rests_until: float = 0.0

    def gpus(self) -> list[Gpu]:
        """Return what it finds; nothing during a `REST`."""
        tool = shutil.which(TOOL)
        if tool is None or self._seconds() < self._rests_until:
            return []
        found = _told_by(tool)
        self._in_vain = 0 if found else self._in_vain + 1
        if self._in_vain >= TRIES:
            self._rests_until = self._seconds() + REST
        return found


_tool = Tool()


def _told_by(tool: str) -> list[Gpu]:
    command = [tool, f"--query-gpu={','.join(_COLUMNS.values())}", "--format=csv,noheader,nounits"]
    try:
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = csv.reader(ran.stdout.decode(errors="replace").splitlines(), skipinitialspace=True)
    return [_from_row(row) for row in rows if len(row) == len(_COLUMNS)]


def _from_row(row: list[str]) -> Gpu:
    told: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    for name in told.keys() - set(_TEXTS):
        told[name] = _number(told[name])
    return Gpu(vendor="NVIDIA", driver="nvidia", **told)


def _number(text: str) -> int | float:
    """Return a number; 0 for `[N/A]` and whatever else is none."""
    try:
        number = float(text)
    except ValueError:
        return 0
    return int(number) if number.is_integer() else number
