"""Rewriting: what came of messages before makes room for what comes of them now.

The homes of traces follow from which slices hold rows of them. Decoders that give other rows of the
same traces leave homes as they are: then the slice alone is dirty, with the homes it adds to. When
a slice gains or loses traces, it and every later slice is looked at again, because homes are found
in the order of slices.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.errors import InvalidInput, StoreBusy
from pipeline.model.runs import FINAL, NEVER, Run, divided
from pipeline.model.tables import INTERNED, QUARANTINE, RAW
from pipeline.store.connection import Database, Session
from pipeline.store.lease import disturb
from pipeline.store.metric_minutes import mark_slice
from pipeline.store.offsets import assign, read_runs
from pipeline.store.port import Rewritten
from pipeline.store.writer import (
    check_names,
    insert_absent,
    insert_raw,
    insert_slice,
    raw_rows,
    read_positions,
    take_number,
)

_KEYS: Final = """
SELECT DISTINCT trace_id_high, trace_id_low, request_id FROM spans WHERE slice = $slice
UNION
SELECT DISTINCT trace_id_high, trace_id_low, request_id FROM access_logs WHERE slice = $slice
ORDER BY ALL
"""
"""By what the analysis knows the traces and requests of a slice, and which of them are one."""


def rewrite(
    database: Database,
    runs: Sequence[Run],
    batches: Mapping[str, pa.Table],
    *,
    written_at: int,
) -> Rewritten:
    """See ``Store.rewrite``. ``written_at`` is Unix nanoseconds."""
    check_names(batches)
    number = _slice_of(runs)
    return database.commit(
        lambda session: _rewrite(session, number, runs, batches, written_at=written_at)
    )


def _rewrite(
    session: Session,
    number: int | None,
    runs: Sequence[Run],
    batches: Mapping[str, pa.Table],
    *,
    written_at: int,
) -> Rewritten:
    raw = raw_rows(batches)
    disturb(session)
    # every rewrite takes a number, so that of two processes that rewrite at once one must fail
    taken = take_number(session)
    for table in INTERNED:
        if table.name in batches:
            insert_absent(session, table, _distinct(batches[table.name]))
    if number is None:
        _must_be_free(session, runs)
        before = 0
        made = taken if raw else None
        if made is not None:
            insert_slice(session, made, raw, written_at)
        for run in runs:
            assign(session, made, run)
    else:
        made = number
        _must_be_all(session, number, runs)
        before = _replace_raw(session, number, raw, cause=taken)
    quarantined = _replace_quarantine(session, runs, batches.get(QUARANTINE.name))
    return Rewritten(made, before, sum(rows.num_rows for rows in raw.values()), *quarantined)


def _slice_of(runs: Sequence[Run]) -> int | None:
    """The slice that all runs are of; None when they are of none."""
    owners = {None if run.slice == NEVER else run.slice for run in runs}
    if len(owners) != 1 or FINAL in owners:
        allowed = "runs of one slice whose raw rows are kept, or runs of no slice"
        raise InvalidInput("slice", found=sorted(owners, key=str), allowed=allowed)
    return owners.pop()


def _distinct(rows: pa.Table) -> pa.Table:
    """The first row of each id."""
    first: dict[str, int] = {}
    for index, key in enumerate(rows.column(0).to_pylist()):
        first.setdefault(key, index)
    return rows.take(pa.array(first.values(), pa.int64()))


def _must_be_free(session: Session, runs: Sequence[Run]) -> None:
    """Refuse messages whose rows are in the store, were in it, or will be without us.

    A message that was set aside whole gave no row, even where its neighbours did.
    """
    positions = read_positions(session)
    for run in runs:
        where = f"{run.partition.topic}/{run.partition.number}"
        if run.until > positions.get(run.partition, 0):
            raise StoreBusy(f"{where} is not ingested up to offset {run.until} yet; wait for it")
        for part in divided(run, read_runs(session, [run])):
            free = part.slice is None or part.slice == NEVER
            if not free and not _set_aside_whole(session, part):
                raise StoreBusy(
                    f"offsets {part.first} to {part.until - 1} of {where} were stored meanwhile;"
                    " look again at what is to be replayed"
                )


def _set_aside_whole(session: Session, part: Run) -> bool:
    """Whether every message of a run is in quarantine as a whole."""
    ((whole,),) = session.rows(
        'SELECT count(DISTINCT "position") FROM quarantine'  # noqa: S608
        f" WHERE {_IN_RUN} AND payload IS NOT NULL",
        _bounds(part),
    )
    return bool(whole == part.until - part.first)


def _must_be_all(session: Session, number: int, runs: Sequence[Run]) -> None:
    """Refuse a slice that is gone, and one that was made from other messages than these."""
    if session.rows("SELECT 1 FROM slices WHERE slice = $slice", {"slice": number}) != [(1,)]:
        allowed = "a slice whose raw rows are kept; what retention took is final"
        raise InvalidInput("slice", found=number, allowed=allowed)
    stored = [run for run in read_runs(session, runs) if run.slice == number]
    if sorted(stored) != sorted(runs):
        raise StoreBusy(f"what slice {number} was made from is noted otherwise now; look again")


def _replace_raw(session: Session, number: int, raw: Mapping[str, pa.Table], *, cause: int) -> int:
    """Swap the raw rows of a slice, and have the analysis look where that matters."""
    this: dict[str, object] = {"slice": number}
    ((before,),) = session.rows("SELECT rows FROM slices WHERE slice = $slice", this)
    keys = session.frame(_KEYS, this)
    mark_slice(session, number, cause=cause)
    for table in RAW:
        session.run(f"DELETE FROM {table.name} WHERE slice = $slice", this)  # noqa: S608
    insert_raw(session, number, raw)
    mark_slice(session, number, cause=cause)
    rows = sum(table.num_rows for table in raw.values())
    session.run("UPDATE slices SET rows = $rows WHERE slice = $slice", this | {"rows": rows})
    # a mark of a number never given before outlives a recomputation that is under way
    marks = "SELECT DISTINCT home, $cause::BIGINT FROM slice_links WHERE slice = $slice"
    session.run(f"INSERT INTO dirty_slices {marks}", this | {"cause": cause})
    if session.frame(_KEYS, this).equals(keys):
        own = "SELECT slice, $cause::BIGINT FROM slices WHERE slice = $slice AND noticed"
        session.run(f"INSERT INTO dirty_slices {own}", this | {"cause": cause})
    else:
        session.run("DELETE FROM slice_links WHERE slice >= $slice", this)
        session.run("UPDATE slices SET noticed = false WHERE slice >= $slice", this)
        session.run("UPDATE counters SET value = value + 1 WHERE name = 'homes'")
    return int(before)


_IN_RUN: Final = (
    'topic = $topic AND "partition" = $number AND "position" >= $first AND "position" < $until'
)


def _replace_quarantine(
    session: Session, runs: Sequence[Run], rows: pa.Table | None
) -> tuple[int, int]:
    """Swap what is set aside of some messages; how many records before, and now."""
    taken = []
    for run in runs:
        taken.append(
            session.frame(f"SELECT * FROM quarantine WHERE {_IN_RUN}", _bounds(run))  # noqa: S608
        )
        session.run(f"DELETE FROM quarantine WHERE {_IN_RUN}", _bounds(run))  # noqa: S608
    before = pl.concat(taken)
    if rows is None or not rows.num_rows:
        return int(before["records"].sum()), 0
    place = ("topic", "partition", "position")
    # a message without a header that tells when it came keeps the time of when it was first seen
    seen = before.group_by(place).agg(first_seen=pl.col("received_at").min())
    now = (
        pl.DataFrame(pl.from_arrow(rows))
        .join(seen, on=place, how="left", maintain_order="left")
        .with_columns(received_at=pl.coalesce("first_seen", "received_at"))
        .drop("first_seen")
    )
    session.insert(QUARANTINE.name, now.to_arrow().cast(QUARANTINE.arrow))
    return int(before["records"].sum()), int(now["records"].sum())


def _bounds(run: Run) -> dict[str, object]:
    return {
        "topic": run.partition.topic,
        "number": run.partition.number,
        "first": run.first,
        "until": run.until,
    }
