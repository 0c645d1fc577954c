"""Which messages each slice was made from: the table ``slice_offsets``."""

from collections.abc import Sequence
from typing import Final

from pipeline.model.messages import OffsetRange, Offsets, Partition
from pipeline.model.runs import FINAL, NEVER, Run, divided
from pipeline.store.connection import Database, Session

_COLUMNS: Final = 'topic, "partition", first_offset, next_offset, slice'

_MET: Final = f"""
WITH wanted AS (
    SELECT unnest($topics::VARCHAR[]) AS topic, unnest($numbers::INTEGER[]) AS number,
        unnest($firsts::BIGINT[]) AS first, unnest($untils::BIGINT[]) AS until
), met AS (
    SELECT {_COLUMNS} FROM slice_offsets o WHERE EXISTS (
        SELECT 1 FROM wanted w WHERE o.topic = w.topic AND o."partition" = w.number
            AND o.first_offset < w.until AND o.next_offset > w.first
    )
)
SELECT * FROM met
UNION SELECT {_COLUMNS} FROM slice_offsets
    WHERE slice > {FINAL} AND slice IN (SELECT slice FROM met)
ORDER BY 1, 2, 3, 5
"""  # noqa: S608

_AT: Final = 'topic = $topic AND "partition" = $number'


def runs(database: Database, wanted: Sequence[Run]) -> list[Run]:
    """See ``Store.runs``."""
    with database.session() as session:
        return read_runs(session, wanted)


def read_runs(session: Session, wanted: Sequence[Run]) -> list[Run]:
    """The recorded runs that meet some of ``wanted``, and all others of their slices."""
    rows = session.rows(_MET, _columns(wanted))
    return [
        Run(Partition(topic, number), first, until, slice_number)
        for topic, number, first, until, slice_number in rows
    ]


def record(session: Session, slice_number: int | None, consumed: Offsets) -> None:
    """Note what a write was made from; without a slice, when there was no raw row to write."""
    runs = [Run(part, first, until, slice_number) for part, (first, until) in consumed.items()]
    _insert(session, *(runs if slice_number else [_joined(session, run) for run in runs]))


def assign(session: Session, slice_number: int | None, run: Run) -> None:
    """Note that messages that gave no row before are of a slice now, or that they gave none again.

    Runs they are taken from become shorter, or two.
    """
    if slice_number is None:
        for part in divided(run, read_runs(session, [run])):
            if part.slice == NEVER:
                record(session, None, {part.partition: OffsetRange(part.first, part.until)})
        return
    for held in read_runs(session, [run]):
        if held.slice == FINAL or held.until <= run.first or held.first >= run.until:
            continue
        _delete(session, held)
        for rest in (held._replace(until=run.first), held._replace(first=run.until)):
            if rest.first < rest.until:
                _insert(session, rest)
    _insert(session, run._replace(slice=slice_number))


FINAL_SLICES: Final = (
    "(slice > 0 AND slice <= $last OR slice IN (SELECT slice FROM slice_links WHERE home <= $last))"
)
"""Slices that leave, and those that lose the rows of traces that leave: none can be replayed."""


def finish(session: Session, last: int) -> None:
    """Fold what slices up to ``last`` were made from into one run per partition.

    Call it while the links of these slices are still there.
    """
    leaving = {"last": last}
    folded = session.rows(
        'SELECT topic, "partition", min(first_offset), max(next_offset) FROM slice_offsets'  # noqa: S608
        f" WHERE slice = {FINAL} OR {FINAL_SLICES} GROUP BY ALL ORDER BY ALL",
        leaving,
    )
    session.run(f"DELETE FROM slice_offsets WHERE slice = {FINAL} OR {FINAL_SLICES}", leaving)  # noqa: S608
    for topic, number, first, until in folded:
        _insert(session, Run(Partition(topic, number), first, until, FINAL))


def forget_empty(session: Session) -> None:
    """Forget runs without rows that are as old as what is final and hold nothing set aside."""
    session.run(_FORGET_EMPTY)


_FORGET_EMPTY: Final = f"""
DELETE FROM slice_offsets WHERE slice IS NULL AND EXISTS (
    SELECT 1 FROM slice_offsets f WHERE f.slice = {FINAL} AND f.topic = slice_offsets.topic
        AND f."partition" = slice_offsets."partition"
        AND f.next_offset >= slice_offsets.next_offset
) AND NOT EXISTS (
    SELECT 1 FROM quarantine q WHERE q.topic = slice_offsets.topic
        AND q."partition" = slice_offsets."partition"
        AND q."position" >= slice_offsets.first_offset
        AND q."position" < slice_offsets.next_offset
)
"""  # noqa: S608


def _joined(session: Session, run: Run) -> Run:
    """A run without rows, together with the one that ends where it begins."""
    before = session.rows(
        "SELECT first_offset FROM slice_offsets"  # noqa: S608
        f" WHERE {_AT} AND slice IS NULL AND next_offset = $first",
        {**_where(run), "first": run.first},
    )
    for (first,) in before:
        _delete(session, run._replace(first=first))
        run = run._replace(first=first)
    return run


def _insert(session: Session, *runs: Run) -> None:
    if runs:
        session.run(
            "INSERT INTO slice_offsets"
            " SELECT unnest($slices::BIGINT[]), unnest($topics::VARCHAR[]),"
            " unnest($numbers::INTEGER[]), unnest($firsts::BIGINT[]), unnest($untils::BIGINT[])",
            {"slices": [run.slice for run in runs], **_columns(runs)},
        )


def _columns(runs: Sequence[Run]) -> dict[str, object]:
    """Where runs are, as parameters of a statement."""
    return {
        "topics": [run.partition.topic for run in runs],
        "numbers": [run.partition.number for run in runs],
        "firsts": [run.first for run in runs],
        "untils": [run.until for run in runs],
    }


def _delete(session: Session, run: Run) -> None:
    session.run(
        f"DELETE FROM slice_offsets WHERE {_AT} AND first_offset = $first"  # noqa: S608
        " AND slice IS NOT DISTINCT FROM $slice::BIGINT",
        {**_where(run), "first": run.first, "slice": run.slice},
    )


def _where(run: Run) -> dict[str, object]:
    return {"topic": run.partition.topic, "number": run.partition.number}
