"""RFC 3339 timestamps, to and from seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def text_of(seconds: float) -> str:
    """Return the time in UTC, with milliseconds unless they are zero."""
    when = datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds" if when.microsecond >= 1000 else "seconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return the seconds since the epoch.

    @raise ValueError: it is not a date and time with an offset from UTC.
    """
    when = datetime.fromisoformat(text.strip().replace(" ", "+"))  # an unescaped + in a query arrives as a blank
    if when.tzinfo is None:
        raise ValueError("it has no offset from UTC")
    return when.timestamp()
