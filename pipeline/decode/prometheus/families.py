"""Which metric a series of Prometheus is part of: types by declaration, else by what names say.

What a metric's type is called stands in front of it (``# TYPE``) or comes beside it (metadata of
remote write), or is not told at all. Then the names speak that OpenMetrics reserves: ``_bucket``
with a label ``le`` is of a histogram, and so are ``_sum`` and ``_count`` of the same stem; a label
``quantile`` makes a summary; ``_total`` a counter. All else is a gauge.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

GAUGE, SUM, HISTOGRAM, SUMMARY = "gauge", "sum", "histogram", "summary"

VALUE, BUCKET, TOTAL_SUM, COUNT, CREATED, QUANTILE = range(6)
"""What a series is to its metric: its value, or of a histogram or summary one part of it."""

_PARTS: Final = {
    "histogram": {"_bucket": BUCKET, "_sum": TOTAL_SUM, "_count": COUNT, "_created": CREATED},
    "gaugehistogram": {
        "_bucket": BUCKET, "_gsum": TOTAL_SUM, "_gcount": COUNT, "_created": CREATED,
    },
    "summary": {"_sum": TOTAL_SUM, "_count": COUNT, "_created": CREATED},
    "counter": {"_total": VALUE, "_created": CREATED},
    "info": {"_info": VALUE},
}  # fmt: skip
"""Of a declared type, what is added to the metric's name, and what it means."""

_TYPES: Final = {
    "counter": SUM,
    "histogram": HISTOGRAM,
    "gaugehistogram": HISTOGRAM,
    "summary": SUMMARY,
}
"""Prometheus' types that are no gauges here."""

_SUFFIXES: Final = ("_bucket", "_sum", "_count", "_created", "_total", "_gsum", "_gcount", "_info")


class Name(NamedTuple):
    """A name of series, and whether any series of it has these labels."""

    text: str
    le: bool = False
    quantile: bool = False


class Family(NamedTuple):
    """The metric that a series is part of.

    Attributes:
        name: of the metric without what its parts add; series of one name are of one metric.
        shown: the name that rows of the metric have.
        type: ``gauge``, ``sum``, ``histogram`` or ``summary``.
        part: what the series is to it.
        cumulative: whether counts go up from a start; not so in a histogram of a gauge.
        unit: as it was declared; empty when it was not.
    """

    name: str
    shown: str
    type: str
    part: int
    cumulative: bool = True
    unit: str = ""


class Declared(NamedTuple):
    """What is told of metrics: types and units by the metric's name."""

    types: dict[str, str]
    units: dict[str, str]

    def tell(self, name: str, type_: str, unit: str) -> None:
        """Remember what was told of a metric, as far as it was told."""
        if type_:
            self.types[name] = type_
        if unit:
            self.units[name] = unit


def families_of(names: Iterable[Name], declared: Declared) -> list[Family]:
    """The family of each name, all of one owner."""
    known = list(names)
    le = {name.text.removesuffix("_bucket") for name in known if name.le}
    quantile = {name.text for name in known if name.quantile}
    return [
        _declared(name.text, declared) or _guessed(name, le, quantile, declared) for name in known
    ]


def stem_of(name: str, type_: str) -> str:
    """The name of the metric that a series of this name and declared type is part of."""
    if type_ in ("counter", "info"):
        return name
    suffixes = _PARTS.get(type_, {})
    return next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), name)


def _declared(name: str, declared: Declared) -> Family | None:
    """The family by the types that were told, the name's own first."""
    own = declared.types.get(name)
    if own in ("summary", "histogram", "gaugehistogram"):
        # a histogram has no series of its own name, unless in another notation
        part = QUANTILE if own == "summary" else VALUE
        return _family(name, name, own if part else "gauge", part, declared)
    if own is not None:
        return _family(name, name, own, VALUE, declared)
    for suffix in _SUFFIXES:
        stem = name.removesuffix(suffix)
        told = declared.types.get(stem) if stem != name else None
        part_of = _PARTS.get(told or "", {}).get(suffix)
        if told is not None and part_of is not None:
            shown = f"{stem}_total" if told == "counter" else name if told == "info" else stem
            return _family(stem, shown, told, part_of, declared)
    return None


def _family(name: str, shown: str, type_: str, part: int, declared: Declared) -> Family:
    kind = _TYPES.get(type_, GAUGE)
    return Family(name, shown, kind, part, type_ != "gaugehistogram", declared.units.get(name, ""))


def _guessed(name: Name, le: set[str], quantile: set[str], declared: Declared) -> Family:
    """The family by what names and labels say; never one whose type was told to be another."""
    text = name.text
    if name.quantile:
        return Family(text, text, SUMMARY, QUANTILE)
    for suffix, part in _PARTS["histogram"].items():
        stem = text.removesuffix(suffix)
        if stem == text or stem in declared.types:
            continue
        if stem in le:
            return Family(stem, stem, HISTOGRAM, part)
        if stem in quantile and part != BUCKET:
            return Family(stem, stem, SUMMARY, part)
    return Family(text, text, SUM if text.endswith("_total") else GAUGE, VALUE)
