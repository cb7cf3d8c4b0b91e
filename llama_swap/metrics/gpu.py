"""The state of a GPU of any vendor."""

from __future__ import annotations

from typing import Any, Final

from attrs import asdict, frozen

MB: Final = 1024 * 1024
_OF_A_SAMPLE: Final = (
    "name",
    "uuid",
    "temp_c",
    "vram_temp_c",
    "gpu_util_pct",
    "mem_util_pct",
    "mem_used_mb",
    "mem_total_mb",
    "fan_speed_pct",
    "power_draw_w",
)


@frozen(kw_only=True)
class Gpu:
    """A sample of one, with the names and units of the original llama-swap's API; 0: not known."""

    vendor: str
    name: str
    uuid: str
    """Distinguishes it from others of the same name."""
    driver: str
    driver_version: str = ""
    temp_c: int = 0
    vram_temp_c: int = 0
    gpu_util_pct: float = 0
    mem_util_pct: float = 0
    mem_used_mb: int = 0
    mem_total_mb: int = 0
    fan_speed_pct: float = 0
    power_draw_w: float = 0
    power_limit_w: float = 0

    def as_sample(self, number: int) -> dict[str, Any]:
        """Return the attributes that belong into a sample, with `number` as id."""
        told = asdict(self)
        return {"id": number, **{name: told[name] for name in _OF_A_SAMPLE}}
