"""RFC 3339 timestamps, to and from seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def text_of(seconds: float) -> str:
    """Return the time in UTC, with milliseconds unless they are zero."""
    when = datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds" if when.microsecond >= 1000 else "seconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Return the seconds since the epoch.

    @raise ValueError: it is no time with a date and an offset from UTC.
    """
    when = datetime.fromisoformat(text.strip().replace(" ", "+"))  # a plus sign in a query is often meant as one
    if when.tzinfo is None:
        raise ValueError("it has no offset from UTC")
    return when.timestamp()
