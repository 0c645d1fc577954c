"""The Prometheus text format, version 0.0.4: names, labels and values, escaped as it asks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

MEDIA_TYPE: Final = "text/plain; version=0.0.4"

Labels = Mapping[str, str]
Sample = tuple[Labels, float | int | None]

_IN_LABEL: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_IN_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its samples; samples without a value are left out."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Iterable[Sample]


def write(families: Iterable[Family]) -> str:
    """The families as text."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help.translate(_IN_HELP)}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        if value is not None:
            yield f"{family.name}{_labels(labels)} {value!r}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    inside = ",".join(f'{name}="{value.translate(_IN_LABEL)}"' for name, value in labels.items())
    return "{" + inside + "}"
