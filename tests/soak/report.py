"""What a check found, beside what it must find."""

from __future__ import annotations

from attrs import frozen


@frozen
class Finding:
    """One line of the table."""

    check: str
    threshold: str
    """What must be; empty for a figure that is only told."""
    figure: str
    holds: bool | None = None
    """None: there is nothing to hold, or too little to judge by."""

    def line(self) -> str:
        """Return the line, as of a Markdown table."""
        verdict = {True: "yes", False: "**NO**", None: ""}[self.holds]
        return f"| {self.check} | {self.threshold} | {self.figure} | {verdict} |"


HEAD = "| check | threshold | figure | holds |\n|---|---|---|---|"


def at_most(check: str, figure: float, limit: float, unit: str = "") -> Finding:
    """Judge a figure that must not be larger than `limit`."""
    return Finding(check, f"≤ {limit:,g}{unit}", f"{figure:,.4g}{unit}", figure <= limit)


def exactly(check: str, figure: object, wanted: object) -> Finding:
    """Judge a figure that must be just this."""
    return Finding(check, str(wanted), str(figure), figure == wanted)


def told(check: str, figure: object) -> Finding:
    """Tell a figure that nothing is expected of."""
    return Finding(check, "", str(figure))
