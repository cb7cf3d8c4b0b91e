"""The hardware of the machine, in version 1 of the original llama-swap's schema.  May block: for a thread."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any, Final

from llama_swap import __version__
from llama_swap.metrics.gpu import MB, Gpu
from llama_swap.metrics.hardware import gpus
from llama_swap.metrics.rfc3339 import text_of

SCHEMA_VERSION: Final = 1
_ARCHITECTURES: Final = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "armv7",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
_FAMILIES: Final = {"Linux": "linux", "Darwin": "macos", "FreeBSD": "freebsd"}


def inventory() -> dict[str, Any]:
    """Return the description, ready for JSON; None stands for what is unknown."""
    import psutil

    machine, system = platform.machine(), platform.system()
    family = _FAMILIES.get(system, "other")
    release = _os_release()
    return {
        "schema_version": SCHEMA_VERSION,
        "captured_at": text_of(time.time()),
        "capture": {
            "scope": "inference_host",
            "method": "detected",
            "detector": {"name": "llama-swap", "version": __version__},
        },
        "architecture": {"name": _ARCHITECTURES.get(machine.lower(), "other"), "raw_name": machine or None},
        "operating_system": {
            "family": family,
            "name": release.get("ID") or system or None,
            "version": release.get("VERSION_ID"),
            "kernel": platform.release() or None,
            **({"raw_family": system} if family == "other" else {}),
        },
        "environment": {"kind": _environment(), "name": None, "version": None},
        "cpu": _cpu(psutil.cpu_count(logical=False), psutil.cpu_count()),
        "memory": {"capacity_bytes": psutil.virtual_memory().total},
        "accelerators": [_accelerator(number, gpu) for number, gpu in enumerate(gpus())],
    }


def _accelerator(number: int, gpu: Gpu) -> dict[str, Any]:
    return {
        "index": number,
        "kind": "gpu",
        "vendor": gpu.vendor,
        "model": gpu.name or None,
        "architecture": None,
        "memory": {
            "kind": "dedicated" if gpu.mem_total_mb else "unknown",
            "capacity_bytes": gpu.mem_total_mb * MB or None,
        },
        "driver": {"name": gpu.driver or None, "version": gpu.driver_version or None},
        "power_limit_watts": gpu.power_limit_w or None,
    }


def _cpu(physical: int | None, logical: int | None) -> dict[str, Any]:
    """Return the description of the processors, with vendor, model and sockets on Linux only."""
    told: dict[str, str] = {}
    sockets: set[str] = set()
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
        if name.strip() == "physical id":
            sockets.add(value.strip())
    return {
        "vendor": told.get("vendor_id") or None,
        "model": told.get("model name") or None,
        "socket_count": len(sockets) or None,
        "physical_core_count": physical or None,
        "logical_thread_count": logical or None,
    }


def _environment() -> str:
    if "container" in os.environ or Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "container"
    if "microsoft" in platform.release().lower():
        return "wsl"
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    if " hypervisor" in flags:
        return "virtual_machine"
    return "native" if flags else "unknown"


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
