"""The time formats of lines: our own, and the named layouts of Go's library.

The layouts are Go's: https://pkg.go.dev/time#pkg-constants .
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

OWN: Final = "%Y-%m-%d %H:%M:%S"

_LAYOUTS: Final[Mapping[str, str]] = {
    "": OWN,
    "ansic": "%a %b %e %H:%M:%S %Y",
    "unixdate": "%a %b %e %H:%M:%S %Z %Y",
    "rubydate": "%a %b %d %H:%M:%S %z %Y",
    "rfc822": "%d %b %y %H:%M %Z",
    "rfc822z": "%d %b %y %H:%M %z",
    "rfc850": "%A, %d-%b-%y %H:%M:%S %Z",
    "rfc1123": "%a, %d %b %Y %H:%M:%S %Z",
    "rfc1123z": "%a, %d %b %Y %H:%M:%S %z",
    "kitchen": "%-I:%M%p",
    "stamp": "%b %e %H:%M:%S",
    "stampmilli": "%b %e %H:%M:%S.{milli:03}",
    "stampmicro": "%b %e %H:%M:%S.{micro:06}",
    "stampnano": "%b %e %H:%M:%S.{micro:06}000",
}


def time_format(name: str) -> Callable[[float], str]:
    """Return a function that formats a time, in seconds since 1970, as local time."""
    if name in {"rfc3339", "rfc3339nano"}:
        precision = "seconds" if name == "rfc3339" else "microseconds"
        return lambda when: _local(when).isoformat(timespec=precision).replace("+00:00", "Z")
    layout = _LAYOUTS[name]

    def write(when: float) -> str:
        time = _local(when)
        return time.strftime(layout).format(micro=time.microsecond, milli=time.microsecond // 1000)

    return write


def _local(when: float) -> datetime:
    return datetime.fromtimestamp(when).astimezone()
