"""What the access records of all API gateways have in common, once they are cells.

A gateway's record tells of two calls: the one it answered and the one it made. Both are one row;
the analysis takes it apart. Only what is listed becomes a column or an attribute: what else a
record holds, headers and bodies above all, is not kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.lines.container_lines import bare
from pipeline.decode.lines.lines import Checked
from pipeline.decode.records.record_cells import Cells, column_of, truths
from pipeline.decode.records.record_plan import Records, compile_records
from pipeline.decode.records.record_walk import FAULTS_NAMED, walk
from pipeline.decode.wire.intern import id_of
from pipeline.model.decoded import Decoded, Refusal
from pipeline.model.tables import ACCESS_LOGS, RESOURCES

Mask = NDArray[np.bool_]

MILLISECONDS: Final = 6
"""The power of ten by which milliseconds become nanoseconds."""

EARLIEST_NS: Final = 10**11 * 10**6
"""In 1973: what is earlier was told in seconds and read as milliseconds."""

RATE_LIMITED, UPSTREAM_TIMEOUT, UPSTREAM_FAILED, NO_UPSTREAM = "RL", "UT", "UF", "UH"
"""Response flags, in the words Envoy has for them."""

_SEPARATOR: Final = "\x1f"
_NOTHING: Final = pa.scalar(None, pa.string())
_FALSE: Final = pa.scalar(value=False)
_EMPTY: Final = pa.scalar("")
_COLON: Final = pa.scalar(":")
_OPEN, _CLOSE = pa.scalar("["), pa.scalar("]")
_BETWEEN: Final = pa.scalar(_SEPARATOR)
"""Scalars are made once, with their type: to find the type Arrow looks for dateutil every time."""


REFUSED: Final = "meshweir.refused"
"""Member of a record that stands in the place of one that could not be read: why."""

REASONS: Final = (
    "a control message of CloudWatch Logs",
    "broken base64",
    "broken gzip data",
    "gzip data that ends too early",
    "inflates to too many bytes",
    "payloads are wrapped too deeply in each other",
    "a message of CloudWatch Logs without events",
    "broken CSV",
    "a row of CSV with another number of fields than its header",
)
CONTROL, BAD_BASE64, BAD_GZIP, SHORT_GZIP, TOO_LARGE, TOO_WRAPPED, NO_EVENTS, BAD_CSV, UNEVEN = (
    REASONS
)
"""Why a part of a message could not be taken apart into records."""


def refused_record(reason: str) -> bytes:
    """What stands in the place of a record that could not be read."""
    return orjson.dumps({REFUSED: reason})


def members(line: bytes) -> Mapping[str, object]:
    """The members of a JSON object by name in lower case; none when the line is no object."""
    if not line.lstrip().startswith(b"{"):
        return {}
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return {name.lower(): inner for name, inner in value.items()}


def cells_of(messages: Sequence[bytes], records: Records) -> Cells:
    """The records of messages.

    Args:
        messages: JSON text in any layout; what a container runtime wrote before a line is none.
        records: what is looked for in each record.
    """
    names = records.names
    messages = [bare(message) for message in messages]
    return Cells(walk(messages, compile_records(records), len(names)), names)


@dataclass(frozen=True, slots=True)
class Judged:
    """Which records are taken.

    Attributes:
        start: when each request began, Unix nanoseconds.
        kept: which records are taken.
        refused: what is told of the others, in message order.
    """

    start: Ints
    kept: Mask
    refused: tuple[Refusal, ...]

    @property
    def checked(self) -> Checked:
        """The answer of the check at the door."""
        return Checked(int(self.kept.sum()), self.refused)


def judged(
    cells: Cells, start: tuple[Ints, Mask], wrong: Sequence[tuple[Mask, str]] = ()
) -> Judged:
    """Say which records are taken, and why others are not.

    Args:
        cells: the records.
        start: when each request began, Unix nanoseconds, and where that is told.
        wrong: records that are refused, and why.
    """
    moment, told = start
    faults = [
        *_taken_apart(cells),
        *wrong,
        (~told | (moment < EARLIEST_NS), "its time cannot be read"),
    ]
    kept = np.ones(len(cells), np.bool_)
    refused = list(cells.walked.refused)
    for mask, reason in faults:
        refused += _refusals(cells, mask & kept, reason)
        kept &= ~mask
    refused.sort(key=lambda refusal: (refusal.message, refusal.offset or 0))
    return Judged(moment, kept, tuple(refused))


def decoded(
    cells: Cells,
    columns: Mapping[str, pa.Array],
    judgement: Judged,
    resources: tuple[pa.Array, pa.Table],
) -> Decoded:
    """Put columns together to rows; columns that are not told are null.

    Args:
        cells: the records.
        columns: columns of ``access_logs``.
        judgement: which of the records are taken.
        resources: answer of ``resources_of``.
    """
    kept, refused = judgement.kept, judgement.refused
    if not kept.any():
        return Decoded(refused=refused)
    ids, named = resources
    whole = {
        "log_type": column_of(np.zeros(len(cells), np.int64), kept, pa.uint8()),
        **columns,
        "start_time": column_of(judgement.start, kept, pa.int64()).cast(pa.timestamp("ns")),
        "resource_id": ids,
    }
    arrays = [
        whole[field.name] if field.name in whole else pa.nulls(len(cells), field.type)
        for field in ACCESS_LOGS.arrow
    ]
    rows = pa.table(arrays, ACCESS_LOGS.arrow)
    if not kept.all():
        rows = rows.filter(truths(kept))
    speaking = pc.is_in(named["resource_id"], pc.unique(rows["resource_id"]))
    return Decoded({ACCESS_LOGS.name: rows, RESOURCES.name: named.filter(speaking)}, refused)


def _taken_apart(cells: Cells) -> list[tuple[Mask, str]]:
    """Records that stand for parts which could not be read."""
    if "refused" not in cells or not cells.told("refused").any():
        return []
    told = cells.texts("refused")
    known = [(mask_of(pc.equal(told, reason)), reason) for reason in REASONS]
    return [*known, (cells.told("refused"), "malformed")]


def _refusals(cells: Cells, mask: Mask, reason: str) -> list[Refusal]:
    places = np.flatnonzero(mask)
    walked = cells.walked
    named = [
        Refusal(message, reason, offset)
        for message, offset in zip(
            walked.messages[places[:FAULTS_NAMED]].tolist(),
            walked.offsets[places[:FAULTS_NAMED]].tolist(),
            strict=True,
        )
    ]
    messages, counts = np.unique(walked.messages[places[FAULTS_NAMED:]], return_counts=True)
    named += [
        Refusal(message, reason, None, count)
        for message, count in zip(messages.tolist(), counts.tolist(), strict=True)
    ]
    return named


def resources_of(
    keys: Sequence[pa.Array], row: Callable[[Sequence[str]], Mapping[str, str | None]]
) -> tuple[pa.Array, pa.Table]:
    """The resource id of each record, and the rows of the resources.

    Args:
        keys: texts that together tell resources apart.
        row: makes columns of ``resources`` from these texts, empty where they were null; members
            that are no columns become attributes.
    """
    together = pc.binary_join_element_wise(
        *keys, _BETWEEN, null_handling="replace", null_replacement=""
    ).dictionary_encode()
    told = [_resource(row(text.split(_SEPARATOR))) for text in together.dictionary.to_pylist()]
    ids = pa.array([one["resource_id"] for one in told], pa.string()).take(together.indices)
    table = pa.Table.from_pylist(
        list({one["resource_id"]: one for one in told}.values()), RESOURCES.arrow
    )
    return ids, table


def _resource(told: Mapping[str, str | None]) -> dict[str, str | None]:
    columns = {name: told.get(name) or None for name in RESOURCES.names}
    attributes = {
        "service.namespace": columns["service_namespace"],
        "service.name": columns["service_name"],
        "service.version": columns["service_version"],
        **{name: value for name, value in told.items() if name not in columns},
    }
    text = orjson.dumps(
        {name: value for name, value in attributes.items() if value}, option=orjson.OPT_SORT_KEYS
    )
    return {**columns, "resource_id": id_of(text), "attributes": text.decode()}


def iso_times(text: pa.Array) -> tuple[Ints, Mask]:
    """Times in RFC 3339, with T or a space, as Unix nanoseconds; UTC where no zone is told."""
    series = pl.Series("time", pl.from_arrow(text), pl.String)
    if series.null_count() == len(series):
        return np.zeros(len(series), np.int64), np.zeros(len(series), np.bool_)
    parts = series.str.extract_groups(
        r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,9})? ?(Z|UTC|[+-]\d\d:?\d\d)?$"
    ).struct.unnest()
    joined = parts.select(
        pl.format("{}T{}{}", pl.col("1"), pl.col("2"), pl.col("3").fill_null("")).alias("at"),
        zone=pl.col("4")
        .fill_null("Z")
        .replace({"Z": "+0000", "UTC": "+0000"})
        .str.replace(":", "", literal=True),
    )
    seconds = joined["at"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    return unix_nanoseconds(seconds, joined["zone"])


def unix_nanoseconds(local: pl.Series, zone: pl.Series) -> tuple[Ints, Mask]:
    """Local times and their offsets (``+hhmm``) as Unix nanoseconds, and where they are told."""
    offset = (
        zone.str.slice(1, 2).cast(pl.Int64) * 3600 + zone.str.slice(3, 2).cast(pl.Int64) * 60
    ) * zone.str.slice(0, 1).replace_strict({"+": 1, "-": -1}, default=None, return_dtype=pl.Int64)
    found = local.cast(pl.Int64) - offset * 1_000_000_000
    valid: Mask = found.is_not_null().to_numpy()
    return found.fill_null(0).to_numpy(), valid


def first_time(*told: tuple[Ints, Mask]) -> tuple[Ints, Mask]:
    """Of each record the first time that is told."""
    found, valid = told[0]
    for other, known in told[1:]:
        found, valid = np.where(valid, found, other), valid | known
    return found, valid


def between(begin: tuple[Ints, Mask], end: tuple[Ints, Mask]) -> tuple[Ints, Mask]:
    """How long it was from one time to another; not told where the end is before the begin."""
    return end[0] - begin[0], begin[1] & end[1] & (end[0] >= begin[0])


def int64(told: tuple[Ints, Mask]) -> pa.Array:
    """Numbers as a column."""
    return column_of(*told, pa.int64())


def address(host: pa.Array, port: pa.Array) -> pa.Array:
    """``ip:port`` or ``[ip]:port``; null where no host is told, without port where none is."""
    bracketed = host
    inner = mask_of(pc.match_substring(host, ":"))
    if inner.any():
        together = pc.binary_join_element_wise(_OPEN, host, _CLOSE, _EMPTY)
        bracketed = pc.if_else(truths(inner), together, host)
    return pc.coalesce(pc.binary_join_element_wise(bracketed, port, _COLON), bracketed)


def where(mask: Mask | pa.Array, text: pa.Array) -> pa.Array:
    """Texts where the mask is true, else null."""
    return pc.if_else(mask if isinstance(mask, pa.Array) else truths(mask), text, _NOTHING)


def first_that_holds(*flags: tuple[Mask, str]) -> pa.Array:
    """The name of the first mask that is true; null where none is."""
    found = pa.nulls(len(flags[0][0]), pa.string())
    for mask, name in reversed(flags):
        if mask.any():
            found = pc.if_else(truths(mask), pa.scalar(name, pa.string()), found)
    return found


def repeated(text: str, count: int) -> pa.Array:
    """The same text for every record."""
    told = pa.scalar(text, pa.string())
    return pc.if_else(truths(np.ones(count, np.bool_)), told, _NOTHING)


def matches(column: pa.Array, pattern: str, *, literal: str = "") -> Mask:
    """Which texts match a regular expression; where none has the literal, none is looked at."""
    if column.null_count == len(column):
        return np.zeros(len(column), np.bool_)
    if literal and not mask_of(pc.match_substring(column, literal)).any():
        return np.zeros(len(column), np.bool_)
    return mask_of(pc.match_substring_regex(column, pattern))


def mask_of(column: pa.Array) -> Mask:
    """Truths as a mask; null is false."""
    mask: Mask = pc.fill_null(column, _FALSE).to_numpy(zero_copy_only=False)
    return mask
