"""NVIDIA's GPUs, as its library tells of them: https://docs.nvidia.com/deploy/nvml-api/ ."""

from __future__ import annotations

from typing import Any

from llama_swap.metrics.gpu import MB, Gpu


def gpus() -> list[Gpu]:
    """Look at them; there are none where the library is not installed, or finds none."""
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


def _gpu(nvml: Any, number: int) -> Gpu:
    device = nvml.nvmlDeviceGetHandleByIndex(number)

    def ask(name: str, *arguments: Any) -> Any:
        """Return what the driver says; None where this GPU has nothing to say about it."""
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
