"""What is in each file of the samples and recordings beside this repository: ``files.txt``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDERS: Final = (
    "samples",
    "data/otlp-corpus",
    "data/prom-scrapes",
    "data/logs-access",
    "data/traces-deathstarbench-socialnet",
)
"""The folders beside this repository of which every file is accounted for."""

NO_TELEMETRY: Final = "-"


@dataclass(frozen=True, slots=True)
class Known:
    """What is in a file.

    Attributes:
        path: where it is, from the folder beside the repository.
        format: the format of its records, or ``NO_TELEMETRY``.
        kind: what it is, when it is no telemetry.
        taken: records that become rows.
        refused: records that are set aside.
        reasons: why, each once, in alphabetical order.
    """

    path: str
    format: str
    kind: str = ""
    taken: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()


def known_files() -> Iterator[Known]:
    """All files that are written down, in their order."""
    folder = ""
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            folder = line.strip("[]")
        elif line and not line.startswith("#"):
            name, format_name, told = line.split(maxsplit=2)
            yield _known(f"{folder}/{name}", format_name, told)


def _known(path: str, format_name: str, told: str) -> Known:
    if format_name == NO_TELEMETRY:
        return Known(path, format_name, kind=told)
    taken, _, rest = told.partition(" ")
    refused, _, reasons = rest.partition(" ")
    why = tuple(reasons.split("; ")) if reasons else ()
    return Known(path, format_name, taken=int(taken), refused=int(refused or 0), reasons=why)
