"""The GPUs that Linux shows in files: a tree of such files, as AMD's and Intel's drivers make them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.metrics import drm
from llama_swap.metrics.gpu import MB, Gpu
from llama_swap.metrics.inventory import inventory

GB = 1024 * MB
RADEON = {
    "vendor": "0x1002",
    "device": "0x744c",
    "gpu_busy_percent": "87",
    "mem_info_vram_total": str(24 * GB),
    "mem_info_vram_used": str(6 * GB),
    "power/runtime_status": "active",
    "hwmon/hwmon3/temp1_input": "61000",
    "hwmon/hwmon3/temp1_label": "edge",
    "hwmon/hwmon3/temp2_input": "75000",
    "hwmon/hwmon3/temp2_label": "junction",
    "hwmon/hwmon3/temp3_input": "80000",
    "hwmon/hwmon3/temp3_label": "mem",
    "hwmon/hwmon3/pwm1": "102",
    "hwmon/hwmon3/power1_average": "205500000",
    "hwmon/hwmon3/power1_cap": "303000000",
}
ARC = {
    "vendor": "0x8086",
    "device": "0xe20b",
    "tile0/physical_vram_size_bytes": str(12 * GB),
    "hwmon/hwmon4/temp2_input": "45000",
    "hwmon/hwmon4/temp2_label": "pkg",
    "hwmon/hwmon4/temp3_input": "50000",
    "hwmon/hwmon4/temp3_label": "vram",
    "hwmon/hwmon4/power1_max": "190000000",
}
NAMES = """\
# comment
1000  Another
\t744c  Not this one
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t7448  Navi 31 [Radeon Pro W7900]
\t744c  Navi 31 [Radeon RX 7900 XTX]
\t\t1002 0e3b  Not this one either
1003  The next one
\te20b  Nor this one
"""


class DrmTests(SynchronousTestCase):
    """`drm.gpus`."""

    def setUp(self) -> None:
        self.sysfs = Path(self.mktemp()).resolve()
        (self.sysfs / "class/drm").mkdir(parents=True)
        names = self.sysfs / "pci.ids"
        names.write_text(NAMES)
        self.patch(drm, "NAMES", (self.sysfs / "missing", names))
        self.addCleanup(drm._listed_name.cache_clear)
        drm._listed_name.cache_clear()

    def plug_in(self, card: str, slot: str, driver: str, files: dict[str, str]) -> Path:
        """Make the files of a card; return the directory of its device."""
        device = self.sysfs / "devices" / slot
        for name, text in files.items():
            path = device / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        (self.sysfs / "drivers" / driver).mkdir(parents=True, exist_ok=True)
        (device / "driver").symlink_to(self.sysfs / "drivers" / driver)
        (self.sysfs / "class/drm" / card).mkdir()
        (self.sysfs / "class/drm" / card / "device").symlink_to(device)
        return device

    def seen(self) -> list[Gpu]:
        """Look."""
        return drm.gpus(self.sysfs)

    def test_amd(self) -> None:
        """Everything that amdgpu tells."""
        self.plug_in("card1", "0000:03:00.0", "amdgpu", RADEON)
        (self.sysfs / "class/drm/card1-DP-1").mkdir()
        (self.sysfs / "class/drm/renderD128").mkdir()
        [gpu] = self.seen()
        self.assertEqual(
            gpu.as_sample(7),
            {
                "id": 7,
                "name": "Navi 31 [Radeon RX 7900 XTX]",
                "uuid": "0000:03:00.0",
                "temp_c": 61,
                "vram_temp_c": 80,
                "gpu_util_pct": 87,
                "mem_util_pct": 25.0,
                "mem_used_mb": 6144,
                "mem_total_mb": 24576,
                "fan_speed_pct": 40,
                "power_draw_w": 205.5,
            },
        )
        self.assertEqual((gpu.vendor, gpu.driver, gpu.power_limit_w), ("AMD", "amdgpu", 303.0))

    def test_intel(self) -> None:
        """Less, but it is there; the order is that of the cards' numbers."""
        self.plug_in("card10", "0000:03:00.0", "amdgpu", RADEON)
        self.plug_in("card2", "0000:04:00.0", "xe", ARC)
        intel, amd = self.seen()
        self.assertEqual((intel.vendor, intel.name, intel.driver), ("Intel", "Intel GPU e20b", "xe"))
        self.assertEqual((intel.temp_c, intel.vram_temp_c, intel.mem_total_mb), (45, 50, 12288))
        self.assertEqual((intel.gpu_util_pct, intel.power_limit_w), (0, 190.0))
        self.assertEqual(amd.vendor, "AMD")

    def test_others(self) -> None:
        """NVIDIA's are asked for elsewhere; what has neither memory nor sensors is no GPU that anybody would watch."""
        self.plug_in("card0", "0000:01:00.0", "nvidia", {"vendor": "0x10de", "hwmon/hwmon0/temp1_input": "50000"})
        self.plug_in("card1", "0000:00:02.0", "i915", {"vendor": "0x8086", "device": "0x46a6"})
        self.plug_in("card2", "vkms", "vkms", {"uevent": ""})
        self.assertEqual(self.seen(), [])
        self.assertEqual(drm.gpus(self.sysfs / "nothing"), [])

    def test_asleep(self) -> None:
        """A GPU that sleeps is not asked what would wake it."""
        device = self.plug_in("card0", "0000:03:00.0", "amdgpu", {**RADEON, "power/runtime_status": "suspended"})
        [gpu] = self.seen()
        self.assertEqual((gpu.mem_total_mb, gpu.temp_c, gpu.gpu_util_pct, gpu.power_draw_w), (24576, 0, 0, 0))
        (device / "power/runtime_status").write_text("active\n")
        [gpu] = self.seen()
        self.assertEqual((gpu.temp_c, gpu.gpu_util_pct), (61, 87))

    def test_dumb(self) -> None:
        """What is missing, no number, or cannot be read is zero; the rest is told."""
        files = {**RADEON, "gpu_busy_percent": "", "hwmon/hwmon3/pwm1": "-", "product_name": "W6800"}
        self.plug_in("card0", "0000:03:00.0", "amdgpu", files)
        read = Path.read_text

        def unwilling(path: Path, *args: Any, **named: Any) -> str:
            if path.name == "power1_average":
                raise OSError(errno.EPERM, "the device is in no state to be asked")
            return read(path, *args, **named)

        self.patch(Path, "read_text", unwilling)
        [gpu] = self.seen()
        self.assertEqual((gpu.name, gpu.gpu_util_pct, gpu.fan_speed_pct, gpu.power_draw_w), ("W6800", 0, 0, 0))
        self.assertEqual(gpu.mem_used_mb, 6144)

    def test_inventory(self) -> None:
        """They are part of what the machine is made of."""
        self.plug_in("card0", "0000:03:00.0", "amdgpu", RADEON)
        seen = self.seen()
        self.patch(drm, "gpus", lambda: seen)
        [found] = [one for one in inventory()["accelerators"] if one["vendor"] == "AMD"]
        self.assertEqual(
            {**found, "index": 0},
            {
                "index": 0,
                "kind": "gpu",
                "vendor": "AMD",
                "model": "Navi 31 [Radeon RX 7900 XTX]",
                "architecture": None,
                "memory": {"kind": "dedicated", "capacity_bytes": 24 * GB},
                "driver": {"name": "amdgpu", "version": None},
                "power_limit_watts": 303.0,
            },
        )
