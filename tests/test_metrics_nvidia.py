"""NVIDIA's GPUs without any: a tool that prints what the real one does, and a library that answers like it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.metrics import nvidia
from llama_swap.metrics.gpu import MB, Gpu

ROWS = """\
NVIDIA GeForce RTX 3090, GPU-1, 550.54.14, 45, N/A, 97, 41, 20345, 24576, 60, 311.47, 350.00
Tesla P40, GPU-2, 550.54.14, 38, [N/A], 0, 0, 4, 24576, [Not Supported], 9.92, 250.00
"""
FIRST = Gpu(
    vendor="NVIDIA",
    name="NVIDIA GeForce RTX 3090",
    uuid="GPU-1",
    driver="nvidia",
    driver_version="550.54.14",
    temp_c=45,
    gpu_util_pct=97,
    mem_util_pct=41,
    mem_used_mb=20345,
    mem_total_mb=24576,
    fan_speed_pct=60,
    power_draw_w=311.47,
    power_limit_w=350,
)


class ToolTests(SynchronousTestCase):
    """`nvidia.gpus`, by way of nvidia-smi."""

    now = 1000.0

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        path = f"{self.directory}:/usr/bin:/bin"
        for patch in (mock.patch.dict(sys.modules, pynvml=None), mock.patch.dict(os.environ, PATH=path)):
            patch.start()  # as if the library were not installed
            self.addCleanup(patch.stop)
        self.patch(nvidia, "_tool", nvidia.Tool(lambda: self.now))

    def install(self, script: str) -> None:
        """Have a tool that runs this."""
        tool = self.directory / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    def test_rows(self) -> None:
        """Each GPU has a row; what one does not tell is zero."""
        self.install(f'[ "$2" = --format=csv,noheader,nounits ] && cat <<"END"\n{ROWS}END')
        first, second = nvidia.gpus()
        self.assertEqual(first, FIRST)
        self.assertEqual(
            second,
            evolve(
                FIRST,
                name="Tesla P40",
                uuid="GPU-2",
                temp_c=38,
                gpu_util_pct=0,
                mem_util_pct=0,
                mem_used_mb=4,
                fan_speed_pct=0,
                power_draw_w=9.92,
                power_limit_w=250,
            ),
        )

    def test_trouble(self) -> None:
        """A tool that is missing, fails, hangs or talks about something else has found nothing."""
        self.assertEqual(nvidia.gpus(), [])
        for script in (
            "echo NVIDIA-SMI has failed because it could not communicate with the driver; exit 9",
            "echo hm",
        ):
            self.install(script)
            self.assertEqual(nvidia.gpus(), [])
        self.patch(nvidia, "PATIENCE", 0.05)
        self.install("exec sleep 20")
        self.assertEqual(nvidia.gpus(), [])

    def test_leaves_it_alone(self) -> None:
        """A tool that finds nothing three times in a row is run every five minutes, until it finds something."""
        runs = self.directory / "runs"
        self.install(f"echo >> '{runs}'; exit 9")
        for moment, wanted in ((0, 1), (5, 2), (10, 3), (15, 3), (309, 3), (311, 4), (316, 4), (610, 4)):
            self.now = 1000.0 + moment
            self.assertEqual(nvidia.gpus(), [])
            self.assertEqual(len(runs.read_text()), wanted, moment)
        self.install(f'cat <<"END"\n{ROWS}END')
        self.now += 2
        self.assertEqual(len(nvidia.gpus()), 2)
        self.install(f"echo >> '{runs}'; exit 9")
        for wanted in (5, 6, 7, 7):
            self.assertEqual(nvidia.gpus(), [])
            self.assertEqual(len(runs.read_text()), wanted)


class Library:
    """Stands for pynvml, with one GPU."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self, **values: Any) -> None:
        self._values = {"DeviceGetCount": 1, "SystemGetDriverVersion": b"550.54.14", **values}
        self.open = 0

    def nvmlInit(self) -> None:
        self._answer("Init")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_: self._answer(name.removeprefix("nvml"))

    def _answer(self, name: str) -> Any:
        value = self._values.get(name, None if name == "Init" else self.NVMLError())
        if isinstance(value, Exception):
            raise value
        return value


class LibraryTests(SynchronousTestCase):
    """`nvidia.gpus`, by way of pynvml."""

    def found(self, library: Library) -> list[Gpu]:
        """Return what is found with this library, which is left as it was."""
        with mock.patch.dict(sys.modules, pynvml=library):
            found = nvidia.gpus()
        self.assertEqual(library.open, 0)
        return found

    def test_values(self) -> None:
        """Memory is told in MB, power in W; texts may be bytes, as in old versions."""
        library = Library(
            DeviceGetName=b"NVIDIA GeForce RTX 3090",
            DeviceGetUUID="GPU-1",
            DeviceGetTemperature=45,
            DeviceGetUtilizationRates=SimpleNamespace(gpu=97, memory=41),
            DeviceGetMemoryInfo=SimpleNamespace(used=20345 * MB, total=24576 * MB),
            DeviceGetFanSpeed=60,
            DeviceGetPowerUsage=311470,
            DeviceGetEnforcedPowerLimit=350000,
        )
        self.assertEqual(self.found(library), [FIRST])

    def test_values_that_are_missing(self) -> None:
        """What a GPU does not tell is zero, or empty."""
        self.assertEqual(
            self.found(Library()), [Gpu(vendor="NVIDIA", name="", uuid="", driver="nvidia", driver_version="550.54.14")]
        )

    def test_trouble(self) -> None:
        """Without a driver, or with one that fails, there is nothing; what was opened is closed."""
        for name in ("Init", "DeviceGetCount", "SystemGetDriverVersion"):
            self.assertEqual(self.found(Library(**{name: Library.NVMLError()})), [], name)
