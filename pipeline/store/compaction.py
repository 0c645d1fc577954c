"""DuckLake's upkeep: small files become large ones, and what no question can need is deleted.

Every commit leaves a Parquet file in each table it inserts into, and deleting rows leaves a second
file beside the first. A question opens all of them. Merging goes by steps of size, so that a row is
written again only a few times in its life, and by bounded pieces, because others wait meanwhile.

Each piece is one transaction and changes no answer. It is not fenced as the analysis is: DuckLake
lets a transaction either compact or change rows. It need not be: of two processes that compact one
table, or compact and delete, DuckLake lets one commit.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.model.tables import DERIVED, INTERNED, QUARANTINE, RAW
from pipeline.store.attach import CATALOG, METADATA
from pipeline.store.connection import Database, Session
from pipeline.store.schema import INLINED
from pipeline.store.settings import StoreSettings

MIB: Final = 1024 * 1024
SECOND: Final = 1_000_000_000


class Step(NamedTuple):
    """Once a table has ``files`` files of at least ``low`` and below ``high`` bytes, merge them."""

    low: int
    high: int
    files: int


STEPS: Final = (Step(0, MIB // 4, 8), Step(MIB // 4, 4 * MIB, 12), Step(4 * MIB, 24 * MIB, 8))
"""Each step makes files of the next; what the last makes stays as it is."""

BYTES_TOGETHER: Final = 24 * MIB
"""Bytes merged or written anew in one transaction, about: a second's work on a slow processor."""

DELETED_SHARE: Final = 0.2
"""A file of which this share is deleted is written anew; a small one when anything is deleted."""

DELETED_FILES: Final = 8
"""Files with deleted rows that a table may have before they are written anew."""

EXPIRY_SECONDS: Final = 60.0
"""Pause between two looks at what may be deleted."""

ORPHAN_SECONDS: Final = 3600.0
"""Pause between two searches for files that belong to nothing."""

TABLES: Final = (
    *(t.name for t in (*DERIVED, *RAW, *INTERNED, QUARANTINE)),
    "slices",
    "slice_links",
    "final_minutes",
)
"""Every table that has files, those that readers wait for first."""


class DataFile(NamedTuple):
    """One Parquet file that is read today: its size, and how many of its rows are deleted."""

    bytes: int
    rows: int
    deleted: int


class Call(NamedTuple):
    """One piece of work: a table function of DuckLake and its parameters."""

    table: str
    function: str
    parameters: Mapping[str, object]


class Upkeep:
    """Compacts one DuckLake; remembers when it last looked for what may be deleted."""

    def __init__(self, database: Database, rows: Path, settings: StoreSettings) -> None:
        self._database = database
        self._rows = rows
        self._settings = settings
        self._expired_at = -EXPIRY_SECONDS
        self._searched_at = time.monotonic()

    def compact(self, *, now: int) -> dict[str, int]:
        """See ``Store.compact``."""
        with self._database.session() as session:
            calls = list(_due(session))
        merged = {call.table: self._commit(partial(_merge, call)) for call in calls}
        if time.monotonic() - self._expired_at >= EXPIRY_SECONDS:
            self._expired_at = time.monotonic()
            before = now - round(self._settings.snapshot_age_seconds * SECOND)
            self._commit(partial(_expire, before))
            self._commit(_forget_inlined)
            self._commit(partial(_delete_replaced, self._rows, before))
        if time.monotonic() - self._searched_at >= ORPHAN_SECONDS:
            self._searched_at = time.monotonic()
            age = round(self._settings.orphan_age_seconds * SECOND)
            self._commit(partial(_delete_orphans, now - age))
        return merged

    def _commit(self, piece: Callable[[Session], int]) -> int:
        return self._database.commit(piece)


def _due(session: Session) -> Iterator[Call]:
    """What is worth merging, at most one piece of each table."""
    files: defaultdict[str, list[DataFile]] = defaultdict(list)
    for table, *file in session.rows(_FILES):
        files[table].append(DataFile(*file))
    for table in TABLES:
        share = worth_rewriting(files[table])
        sizes = next(mergeable(files[table]), None)
        if share is not None:
            yield Call(table, _REWRITE, {"share": share})
        elif sizes is not None:
            yield Call(table, _MERGE, {"low": sizes[0], "high": sizes[1]})


_REWRITE: Final = "ducklake_rewrite_data_files($lake, $table, delete_threshold => $share)"
_MERGE: Final = (
    "ducklake_merge_adjacent_files($lake, $table, min_file_size => $low, max_file_size => $high)"
)


def _merge(call: Call, session: Session) -> int:
    """Merge files of a table, or write them anew without what is deleted; how many."""
    ((files,),) = session.rows(
        f"SELECT coalesce(sum(files_processed), 0) FROM {call.function}",  # noqa: S608
        {"lake": CATALOG, "table": call.table, **call.parameters},
    )
    return int(files)


def worth_rewriting(files: Sequence[DataFile]) -> float | None:
    """The share of deleted rows from which on files are written anew; None when none is worth it.

    DuckLake chooses files by that share alone, so it is set as low as ``BYTES_TOGETHER`` allows:
    small files first of all, since merging passes over files with deleted rows.
    """
    torn = sorted((file for file in files if file.deleted), key=_share, reverse=True)
    heavy = [file for file in torn if file.bytes >= STEPS[0].high and _share(file) > DELETED_SHARE]
    if len(torn) < DELETED_FILES and not heavy:
        return None
    least, held = 1.0, 0
    for file in torn:
        held += file.bytes
        if held > BYTES_TOGETHER and least < 1.0:
            break
        least = min(least, _share(file))
    return least * 0.999


def mergeable(files: Sequence[DataFile]) -> Iterator[tuple[int, int]]:
    """Ranges of size, from and below, whose files are to be merged into one."""
    sizes = sorted(file.bytes for file in files if not file.deleted)
    for step in STEPS:
        group = [size for size in sizes if step.low <= size < step.high]
        if len(group) < step.files:
            continue
        held, last = 0, group[1]
        for size in group:
            held += size
            if held > BYTES_TOGETHER:
                break
            last = max(last, size)
        yield step.low, last + 1


def _share(file: DataFile) -> float:
    return file.deleted / max(file.rows, 1)


_FILES: Final = f"""
SELECT t.table_name, f.file_size_bytes, f.record_count, coalesce(d.delete_count, 0)
FROM {METADATA}.ducklake_data_file f
JOIN {METADATA}.ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL
LEFT JOIN {METADATA}.ducklake_delete_file d
  ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL
WHERE f.end_snapshot IS NULL
"""  # noqa: S608

_OLDER: Final = "to_timestamp($before::BIGINT / 1e9)"

_EXPIRED: Final = f"""
SELECT snapshot_id FROM {METADATA}.ducklake_snapshot
WHERE snapshot_time::TIMESTAMPTZ < {_OLDER}
  AND snapshot_id < (SELECT max(snapshot_id) FROM {METADATA}.ducklake_snapshot)
"""  # noqa: S608

_REPLACED: Final = f"""
SELECT data_file_id, path FROM {METADATA}.ducklake_files_scheduled_for_deletion
WHERE schedule_start::TIMESTAMPTZ < {_OLDER}
"""  # noqa: S608


def _expire(before: int, session: Session) -> int:
    """Forget the snapshots of a time that no question looks at any more.

    They are named one by one. Given an age, DuckLake 1.0 with a SQLite catalog compares times as
    texts of two forms, and forgets and deletes everything of the same day.
    """
    old = [number for (number,) in session.rows(_EXPIRED, {"before": before})]
    if old:
        # the call works row by row: only a query that takes all rows makes it finish
        call = "SELECT count(*) FROM ducklake_expire_snapshots($lake, versions => $old::UBIGINT[])"
        session.rows(call, {"lake": CATALOG, "old": old})
    return len(old)


def _delete_replaced(rows: Path, before: int, session: Session) -> int:
    """Delete files that were merged away before a time, or belonged to forgotten snapshots."""
    files = session.rows(_REPLACED, {"before": before})
    for _, path in files:
        (rows / path).unlink(missing_ok=True)
    session.run(
        f"DELETE FROM {METADATA}.ducklake_files_scheduled_for_deletion"  # noqa: S608
        " WHERE data_file_id IN (SELECT unnest($gone::BIGINT[]))",
        {"gone": [number for number, _ in files]},
    )
    return len(files)


def _delete_orphans(before: int, session: Session) -> int:
    """Delete files of transactions that never came to their commit."""
    call = f"SELECT count(*) FROM ducklake_delete_orphaned_files($lake, older_than => {_OLDER})"  # noqa: S608
    return int(session.rows(call, {"lake": CATALOG, "before": before})[0][0])


_INLINED: Final = f"""
SELECT i.table_name
FROM {METADATA}.ducklake_inlined_data_tables i JOIN {METADATA}.ducklake_table t USING (table_id)
WHERE t.table_name IN (SELECT unnest($names::VARCHAR[]))
"""  # noqa: S608


def _forget_inlined(session: Session) -> int:
    """Delete old versions of rows kept in the catalog, which no kept snapshot can see.

    DuckLake 1.0 keeps them for ever: expiring leaves them, and flushing them to files races with
    writers and readers (duckdb/ducklake issues 650 and 1413). At one commit a second a counter has
    86,000 dead versions after a day, and each question about it reads them all.
    """
    gone = 0
    for (name,) in session.rows(_INLINED, {"names": list(INLINED)}):
        ((rows,),) = session.rows(
            f'DELETE FROM {METADATA}."{name}" WHERE end_snapshot <='  # noqa: S608
            f" (SELECT min(snapshot_id) FROM {METADATA}.ducklake_snapshot)"
        )
        gone += int(rows)
    return gone
