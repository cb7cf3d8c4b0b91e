"""AMD's and Intel's GPUs, from Linux's sysfs: no library, no tool and no privileges are needed.

The files: https://docs.kernel.org/gpu/amdgpu/driver-misc.html , https://docs.kernel.org/hwmon/sysfs-interface.html
and the kernel's Documentation/ABI/testing/sysfs-driver-intel-*-hwmon .  Intel's drivers report no utilization there.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from llama_swap.metrics.gpu import MB, Gpu

SYSFS: Final = Path("/sys")
NAMES: Final = (Path("/usr/share/hwdata/pci.ids"), Path("/usr/share/misc/pci.ids"))
"""Where distributions install the names of all PCI devices: https://pci-ids.ucw.cz ."""
_VENDORS: Final = {"1002": "AMD", "8086": "Intel"}


def gpus(sysfs: Path = SYSFS) -> list[Gpu]:
    """Return all GPUs of AMD and Intel, in the order of their numbers."""
    cards = (card for card in sysfs.glob("class/drm/card*") if card.name[4:].isdigit())  # card0-DP-1 is a plug of card0
    devices = [card / "device" for card in sorted(cards, key=lambda card: int(card.name[4:]))]
    return [gpu for device in devices if (gpu := _gpu(device)) is not None]


def _gpu(device: Path) -> Gpu | None:
    """Look at one; return None if it is of another vendor, or tells nothing of interest."""
    vendor_id, device_id = (_text(device / name).removeprefix("0x") for name in ("vendor", "device"))
    vendor = _VENDORS.get(vendor_id)
    vram = _number(device / "mem_info_vram_total") or sum(
        _number(tile) for tile in device.glob("tile*/physical_vram_size_bytes")
    )
    sensors = next(iter(sorted(device.glob("hwmon/hwmon*"))), None)
    if vendor is None or not (vram or sensors):
        return None
    used = _number(device / "mem_info_vram_used")
    asleep = _text(device / "power/runtime_status") == "suspended"  # reading its temperature would wake it
    hwmon = None if asleep else sensors
    temperatures = _temperatures(hwmon)
    return Gpu(
        vendor=vendor,
        name=_text(device / "product_name") or _listed_name(vendor_id, device_id) or f"{vendor} GPU {device_id}",
        uuid=device.resolve().name,  # the address of its slot, such as 0000:03:00.0
        driver=(device / "driver").resolve().name,
        temp_c=temperatures.get("edge") or temperatures.get("pkg") or next(iter(temperatures.values()), 0),
        vram_temp_c=temperatures.get("mem") or temperatures.get("vram") or 0,
        gpu_util_pct=0 if asleep else _number(device / "gpu_busy_percent"),
        mem_util_pct=round(100 * used / vram, 1) if vram else 0,
        mem_used_mb=used // MB,
        mem_total_mb=vram // MB,
        fan_speed_pct=round(_number_of(hwmon, "pwm1") * 100 / 255),
        power_draw_w=(_number_of(hwmon, "power1_average") or _number_of(hwmon, "power1_input")) / 1e6,
        power_limit_w=(_number_of(hwmon, "power1_cap") or _number_of(hwmon, "power1_max")) / 1e6,
    )


def _temperatures(hwmon: Path | None) -> dict[str, int]:
    """Return degrees Celsius by the label of the sensor."""
    if hwmon is None:
        return {}
    return {
        _text(path.with_name(path.name.replace("_input", "_label"))): _number(path) // 1000
        for path in sorted(hwmon.glob("temp*_input"))
    }


@lru_cache
def _listed_name(vendor: str, device: str) -> str:
    """Return the name of a device; empty if no list is installed, or if it is not in it."""
    for path in NAMES:
        try:
            with path.open(errors="replace") as lines:
                for line in lines:
                    if line.startswith(vendor):
                        break
                for line in lines:
                    if not line.startswith(("\t", "#")):
                        break
                    if line.startswith(f"\t{device}"):
                        return line[5:].strip()
        except OSError:
            continue
    return ""


def _number_of(directory: Path | None, name: str) -> int:
    return 0 if directory is None else _number(directory / name)


def _number(path: Path) -> int:
    """Return the number in a file; 0 if there is no such file, or if its device cannot be read now."""
    try:
        return int(_text(path))
    except ValueError:
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
