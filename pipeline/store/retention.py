"""Deleting what is past its age, so that what stays can still be recomputed exactly.

A trace leaves whole, with the requests that it is one with. When the raw rows of its home go, its
rows in younger slices go too, so that no kept slice holds half a trace whose other half is gone.
Only clean units leave, oldest first, and their derived rows stay until these are past their own,
longer age. A slice that left, or that lost the rows of a trace that left, cannot be replayed: its
numbers are final.
"""

from typing import Final

from pipeline.model.tables import (
    ACCESS_LOGS,
    CONSUMER_MINUTES,
    EDGE_MINUTES,
    NODE_MINUTES,
    QUARANTINE,
    RAW,
    SPANS,
)
from pipeline.store import metric_minutes, offsets
from pipeline.store.connection import Session
from pipeline.store.lease import Lease
from pipeline.store.settings import StoreSettings

SECOND: Final = 1_000_000_000

_LAST_TO_LEAVE: Final = """
WITH young AS (
    SELECT min(slice) AS slice FROM slices WHERE written_at >= make_timestamp_ns($before)
), busy AS (
    SELECT min(slice) AS slice FROM (
        SELECT slice FROM dirty_slices UNION ALL SELECT slice FROM slices WHERE NOT noticed
    )
)
SELECT max(u.high) FROM units u, young, busy
WHERE u.high < coalesce(young.slice, 9223372036854775807)
  AND u.high < coalesce(busy.slice, 9223372036854775807)
"""
"""The last slice of the last clean unit whose rows all arrived before a time."""

_TRACE: Final = "trace_id_high::VARCHAR || '/' || trace_id_low::VARCHAR"
_REQUEST: Final = "'request ' || request_id"
_YOUNGER: Final = "slice IN (SELECT slice FROM slice_links WHERE home <= $last AND slice > $last)"
"""Slices that stay, and may hold rows of traces whose home leaves."""

_LEAVING: Final = f"""
CREATE OR REPLACE TEMP TABLE leaving AS
WITH RECURSIVE every AS (
    SELECT slice, {_TRACE} AS trace, {_REQUEST} AS request FROM spans
    UNION ALL SELECT slice, {_TRACE}, {_REQUEST} FROM access_logs
), younger AS (
    SELECT DISTINCT trace, request FROM every WHERE {_YOUNGER}
), one AS (
    SELECT trace AS key, request AS other FROM younger WHERE trace || request IS NOT NULL
    UNION ALL SELECT request, trace FROM younger WHERE trace || request IS NOT NULL
), older AS (
    SELECT trace AS key FROM every WHERE slice <= $last
    UNION SELECT request FROM every WHERE slice <= $last
), leaving AS (
    SELECT key FROM older WHERE key IN (
        SELECT trace FROM younger WHERE trace IS NOT NULL
        UNION ALL SELECT request FROM younger WHERE request IS NOT NULL
    )
    UNION SELECT other FROM leaving JOIN one USING (key)
)
SELECT key FROM leaving
"""  # noqa: S608
"""Traces and requests of which the home leaves and that have rows in slices that stay: those of
which rows leave, and what rows that stay make one with them."""

_TORN: Final = {
    SPANS.name: _TRACE,
    ACCESS_LOGS.name: f"coalesce({_TRACE}, {_REQUEST})",
}
"""How the rows of one trace are known, in the tables that are analysed by trace."""


def retire(lease: Lease, settings: StoreSettings, *, now: int) -> dict[str, int]:
    """Delete what is past its age at ``now``, Unix nanoseconds, in one transaction per kind.

    Returns:
        How many rows were deleted, by table.

    Raises:
        StoreBusy: another process wrote the same rows meanwhile; the next run tries again.
    """
    rows: dict[str, int] = {}
    raw, derived = settings.raw_age_seconds, settings.derived_age_seconds
    rows |= lease.commit(lambda session: _retire_raw(session, before=_past(now, raw)))
    rows |= lease.commit(lambda session: _retire_derived(session, before=_past(now, derived)))
    age = _past(now, settings.quarantine_age_seconds)
    keep = settings.quarantine_rows

    def quarantine(session: Session) -> int:
        gone = _retire_quarantine(session, before=age, keep=keep)
        offsets.forget_empty(session)
        return gone

    rows[QUARANTINE.name] = lease.commit(quarantine)
    return {name: count for name, count in rows.items() if count}


def _past(now: int, seconds: float) -> int:
    return max(0, now - round(seconds * SECOND))


def _retire_raw(session: Session, *, before: int) -> dict[str, int]:
    ((last,),) = session.rows(_LAST_TO_LEAVE, {"before": before})
    if last is None:
        return {}
    leaving = {"last": last}
    metric_minutes.finish(session, last)
    session.run(_LEAVING, leaving)
    torn = {name: _delete(session, name, _torn(key), leaving) for name, key in _TORN.items()}
    session.run("DROP TABLE leaving")
    rows = {
        table.name: _delete(session, table.name, "slice <= $last", leaving)
        + torn.get(table.name, 0)
        for table in RAW
    }
    offsets.finish(session, last)
    for forgotten in ("slices WHERE slice", "slice_links WHERE home", "units WHERE high"):
        session.run(f"DELETE FROM {forgotten} <= $last", leaving)  # noqa: S608
    return rows


def _torn(key: str) -> str:
    """Rows in slices that stay, of traces whose home leaves."""
    return f"{_YOUNGER} AND {key} IN (SELECT key FROM leaving)"  # noqa: S608


def _retire_derived(session: Session, *, before: int) -> dict[str, int]:
    # a recording of old traffic that was just imported stays as long as its raw rows do
    old = (
        "minute < make_timestamp_ns($before) AND (slice NOT IN (SELECT low FROM units)"
        " OR (slice IS NULL AND minute IN (SELECT minute FROM final_minutes)))"
    )
    rows = {
        table.name: _delete(session, table.name, old, {"before": before})
        for table in (EDGE_MINUTES, NODE_MINUTES, CONSUMER_MINUTES)
    }
    metric_minutes.forget_final(session, before=before)
    # a name is of use as long as there is a minute that may need it
    unused = (
        "slice < (SELECT min(slice) FROM (SELECT slice FROM edge_minutes UNION ALL"
        " SELECT slice FROM node_minutes UNION ALL SELECT low FROM units))"
    )
    return rows | {"aliases": _delete(session, "aliases", unused, {})}


def _retire_quarantine(session: Session, *, before: int, keep: int) -> int:
    arrival = "coalesce(epoch_ns(received_at), 0)"
    old = _delete(session, QUARANTINE.name, f"{arrival} < $before", {"before": before})
    too_many = session.rows(
        f"SELECT {arrival} FROM quarantine ORDER BY 1 DESC LIMIT 1 OFFSET $keep",  # noqa: S608
        {"keep": keep},
    )
    if not too_many:
        return old
    # of several that came at one moment none stays rather than one too many
    return old + _delete(session, QUARANTINE.name, f"{arrival} <= $last", {"last": too_many[0][0]})


def _delete(session: Session, table: str, which: str, parameters: dict[str, object]) -> int:
    """Delete rows and say how many."""
    ((count,),) = session.rows(f"DELETE FROM {table} WHERE {which}", parameters)  # noqa: S608
    return int(count)
