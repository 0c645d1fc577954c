"""Scraped text to rows of ``metric_points``: what both formats of exposition share.

Who was scraped and when stands in the first line of a message (``model/scrape.py``); where it does
not, samples must have timestamps of their own. A line that cannot be read is refused by itself, and
the others are kept: a scrape of 20,000 samples is not lost for one of them. Prometheus would refuse
it whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.columns import NOTHING, texts
from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text_numbers import Numbers, numbers_of
from pipeline.decode.lines.lines import Lines, lines_of
from pipeline.decode.prometheus.exposition_scan import (
    EOF,
    REASONS as SCAN_REASONS,
    SAMPLE,
    STALE,
    TYPE,
    UNIT,
    Scan,
    scan,
)
from pipeline.decode.prometheus.families import Declared
from pipeline.decode.prometheus.metric_points import Points, points_of, points_table
from pipeline.decode.prometheus.samples import Exemplars, Samples, Truths, nanoseconds
from pipeline.decode.wire.intern import resource_row
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.scrape import SCRAPE_PREFIX, Scrape
from pipeline.model.tables import METRIC_POINTS, RESOURCES

CUT_OFF: Final = "the text ends before its # EOF"
BAD_SCRAPE: Final = "the line about the scrape is malformed"

REASONS: Final = (
    *SCAN_REASONS,
    "a value that is no number",
    "a timestamp that is no number, or out of range",
    "no time: neither the sample nor a line about the scrape tells one",
    "the last line does not end",
    "a sample behind # EOF",
)
_BAD_VALUE, _BAD_TIME, _NO_TIME, _CUT_LINE, _BEHIND_EOF = range(len(SCAN_REASONS), len(REASONS))

_MILLISECOND: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_LAST: Final = float(1 << 62)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the two formats.

    Attributes:
        tick: nanoseconds of one unit of a timestamp.
        ends: whether a text that does not end with ``# EOF`` was cut off.
    """

    tick: int
    ends: bool


PROMETHEUS: Final = Dialect(_MILLISECOND, ends=False)
OPENMETRICS: Final = Dialect(_SECOND, ends=True)


def decode_exposition(messages: Sequence[bytes], dialect: Dialect) -> Decoded:
    """Decode scraped texts, each for itself."""
    lines = lines_of(messages)
    heads, refused = _heads(messages)
    found = scan(lines)
    if dialect.ends:
        refused += _cut_off(lines, found, {one.message for one in refused})
    gone = np.zeros(len(messages), np.bool_)
    gone[[one.message for one in refused]] = True
    numbers = numbers_of(lines.buffer, found.values)
    told = numbers_of(lines.buffer, found.times)
    times = _times(lines, found, told, heads, dialect)
    bad = _faults(messages, lines, found, dialect)
    _mark(bad, found.samples, ~numbers.good & (found.values != NOTHING), _BAD_VALUE)
    _mark(bad, found.samples, (found.times != NOTHING) & (times == NOTHING), _BAD_TIME)
    _mark(bad, found.samples, times == NOTHING, _NO_TIME)
    bad[gone[lines.messages]] = 0
    good = (bad[found.samples] == 0) & ~gone[lines.messages[found.samples]]
    samples = _samples(lines, found.some(good), numbers.values[good], times[good], len(messages))
    refused += lines.refusals(REASONS, bad)
    points = _with_scrapes(points_of(samples), samples, heads)
    return _decoded(points, heads, tuple(sorted(refused, key=lambda one: one.message)))


def _heads(messages: Sequence[bytes]) -> tuple[list[Scrape | None], tuple[Refusal, ...]]:
    """What each message tells of its scrape, and those that tell it wrongly."""
    heads: list[Scrape | None] = []
    refused: list[Refusal] = []
    for index, message in enumerate(messages):
        head = None
        if message.startswith(SCRAPE_PREFIX):
            try:
                head = Scrape.of(message.partition(b"\n")[0])
            except ValueError:
                refused.append(Refusal(index, BAD_SCRAPE, 0, whole=True))
        heads.append(head)
    return heads, tuple(refused)


def _cut_off(lines: Lines, found: Scan, known: set[int]) -> tuple[Refusal, ...]:
    """Messages that have samples and no end: nobody knows what is missing."""
    ended = set(lines.messages[found.kinds == EOF].tolist())
    told = set(lines.messages[found.kinds == SAMPLE].tolist())
    return tuple(Refusal(message, CUT_OFF, whole=True) for message in sorted(told - ended - known))


def _times(
    lines: Lines, found: Scan, told: Numbers, heads: Sequence[Scrape | None], dialect: Dialect
) -> Ints:
    """Of each sample its time, Unix nanoseconds; ``NOTHING`` where it has none that is one."""
    scraped = [NOTHING if head is None else _nanoseconds(head.at_ms) for head in heads]
    given = np.array(scraped, np.int64)[lines.messages[found.samples]]
    own = _ticks(told, dialect.tick)
    return np.where(found.times == NOTHING, given, own)


def _nanoseconds(milliseconds: int) -> int:
    return milliseconds * _MILLISECOND if 0 <= milliseconds * _MILLISECOND < _LAST else NOTHING


def _ticks(told: Numbers, tick: int) -> Ints:
    """Times as nanoseconds; ``NOTHING`` where there is none, or it is out of range."""
    usable = told.good & (told.values >= 0) & (told.values * tick < _LAST)
    return np.where(usable, nanoseconds(np.where(usable, told.values, 0.0), tick), NOTHING)


def _faults(messages: Sequence[bytes], lines: Lines, found: Scan, dialect: Dialect) -> Ints:
    """Of each line the number of what is wrong with it, as far as it can be seen at once."""
    bad = found.faults.astype(np.int64)
    open_ended = [index for index, one in enumerate(messages) if not one.endswith(b"\n")]
    last = np.searchsorted(lines.messages, np.arange(len(messages)), side="right") - 1
    for index in open_ended:
        line = last[index]
        if line >= 0 and lines.messages[line] == index and found.kinds[line] == SAMPLE:
            bad[line] = bad[line] or _CUT_LINE
    if dialect.ends:
        ends = np.full(len(messages), len(lines), np.int64)
        eofs = np.flatnonzero(found.kinds == EOF)[::-1]
        ends[lines.messages[eofs]] = eofs
        behind = (found.kinds == SAMPLE) & (np.arange(len(lines)) > ends[lines.messages])
        bad[behind & (bad == 0)] = _BEHIND_EOF
    return bad


def _mark(bad: Ints, samples: Ints, wrong: Truths, reason: int) -> None:
    """Give the lines of samples that are wrong a reason, where they have none."""
    here = samples[wrong]
    bad[here[bad[here] == 0]] = reason


def _samples(lines: Lines, found: Scan, values: np.ndarray, times: Ints, count: int) -> Samples:
    measured = numbers_of(lines.buffer, found.exemplars.column("value"))
    told = numbers_of(lines.buffer, found.exemplars.column("time"))
    return Samples(
        lines.buffer,
        lines.messages[found.samples],
        found.names,
        values,
        times,
        np.zeros(len(times), np.int64),
        found.kinds[found.samples] == STALE,
        found.labels,
        Exemplars(
            found.exemplar_labels,
            found.exemplars.parents,
            measured.values,
            np.maximum(_ticks(told, _SECOND), 0),
        ),
        _declared(lines, found, count),
    )


def _declared(lines: Lines, found: Scan, count: int) -> tuple[Declared, ...]:
    """Of each message the types and units of its metrics; told twice, the last counts."""
    declared = tuple(Declared({}, {}) for _ in range(count))
    for kind in (TYPE, UNIT):
        here = np.flatnonzero((found.kinds == kind) & (found.faults == 0))
        names = texts(lines.buffer, found.notes[here], empty_is_null=False).to_pylist()
        words = texts(lines.buffer, found.told[here], empty_is_null=False).to_pylist()
        for message, name, word in zip(lines.messages[here].tolist(), names, words, strict=True):
            told = (word.lower(), "") if kind == TYPE else ("", word)
            declared[message].tell(name, *told)
    return declared


def _with_scrapes(points: Points, samples: Samples, heads: Sequence[Scrape | None]) -> Points:
    """The points, and those that tell of the scrapes themselves."""
    scraped = np.bincount(samples.owners[~samples.stale], minlength=len(heads)).tolist()
    rows = [
        (index, _nanoseconds(head.at_ms), name, float(value))
        for index, head in enumerate(heads)
        if head is not None and _nanoseconds(head.at_ms) != NOTHING
        for name, value in head.report(scraped[index]).items()
    ]
    if not rows:
        return points
    messages, times, names, values = zip(*rows, strict=True)
    more = points_table(
        {
            "time": pa.array(times, pa.int64()).cast(pa.timestamp("ns")),
            "name": pa.array(names, pa.string()),
            "type": pa.array(["gauge"] * len(rows), pa.string()),
            "value": pa.array(values, pa.float64()),
            "flags": pa.array([0] * len(rows), pa.uint32()),
        },
        len(rows),
    )
    return Points(
        pa.concat_tables([points.table, more]),
        np.concatenate((points.owners, np.array(messages, np.int64))),
    )


def _decoded(
    points: Points, heads: Sequence[Scrape | None], refused: tuple[Refusal, ...]
) -> Decoded:
    resources = [resource_row({} if head is None else dict(head.resource)) for head in heads]
    ids = pa.array([row["resource_id"] for row in resources], pa.string())
    told = {
        resources[message]["resource_id"]: resources[message]
        for message in np.unique(points.owners).tolist()
    }
    place = METRIC_POINTS.names.index("resource_id")
    column = ids.take(pa.array(points.owners))
    return Decoded(
        {
            METRIC_POINTS.name: points.table.set_column(place, "resource_id", column),
            RESOURCES.name: pa.Table.from_pylist(list(told.values()), RESOURCES.arrow),
        },
        refused,
    )
