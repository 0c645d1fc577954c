"""Durations and sizes as Prometheus writes them: ``1m30s``, ``10MB``."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

_UNITS: Final = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3}
_DURATION: Final = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS), re.ASCII)

_SIZES: Final = {
    "": 1,
    "K": 1 << 10,
    "M": 1 << 20,
    "G": 1 << 30,
    "T": 1 << 40,
    "P": 1 << 50,
    "E": 1 << 60,
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]?)(?:i?B)?", re.ASCII)


def seconds_of(text: object) -> object:
    """Seconds of a duration; what is no text is left to its type.

    Raises:
        ValueError: the text is no duration.
    """
    if not isinstance(text, str):
        return text
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError("a duration such as 15s, 1m30s or 500ms")
    given = zip(match.groups("0"), _UNITS.values(), strict=True)
    return float(sum(int(number) * unit for number, unit in given))


def bytes_of(text: object) -> object:
    """Bytes of a size, whose units are powers of 1024; what is no text is left to its type.

    Raises:
        ValueError: the text is no size.
    """
    if not isinstance(text, str):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a size such as 512KB or 16MiB")
    return int(float(match[1]) * _SIZES[match[2]])


Duration = Annotated[float, BeforeValidator(seconds_of), Field(gt=0)]
"""Seconds; given as Prometheus writes durations."""

ByteSize = Annotated[int, BeforeValidator(bytes_of), Field(ge=0)]
"""Bytes; given as Prometheus writes sizes. 0 means what it means there: no bound of its own."""
