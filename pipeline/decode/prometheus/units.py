"""Units as OpenMetrics words them, in UCUM, which OpenTelemetry uses."""

from typing import Final

_UCUM: Final = {
    "seconds": "s",
    "milliseconds": "ms",
    "microseconds": "us",
    "nanoseconds": "ns",
    "minutes": "min",
    "hours": "h",
    "days": "d",
    "bytes": "By",
    "bits": "bit",
    "ratio": "1",
    "ratios": "1",
    "percent": "%",
    "celsius": "Cel",
    "meters": "m",
    "volts": "V",
    "amperes": "A",
    "joules": "J",
    "watts": "W",
    "grams": "g",
    "hertz": "Hz",
}


LONGEST: Final = 63
"""Characters of a unit at most: it is told once and repeated in every row."""


def ucum(unit: str) -> str | None:
    """The unit in UCUM; one that is not known as it is, and None when none was told."""
    return (_UCUM.get(unit, unit) or None) if len(unit) <= LONGEST else None
