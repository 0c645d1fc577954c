"""Writing: one slice in one transaction, with the bus positions it was made from."""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InvalidInput, StoreBusy
from pipeline.model.messages import OffsetRange, Offsets, Partition, Positions
from pipeline.model.table import Table
from pipeline.model.tables import ACCESS_LOGS, INTERNED, QUARANTINE, RAW, SPANS
from pipeline.store.connection import Database, Session
from pipeline.store.offsets import record

MAX_KNOWN: Final = 1_000_000
"""Interned ids remembered per process; past it the memory is emptied and fills again."""

_SORTED_BY: Final = {SPANS.name: "trace_id_low", ACCESS_LOGS.name: "request_id"}


class Writer:
    """Appends slices; remembers which interned rows it has already seen stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, set[str]] = {table.name: set() for table in INTERNED}

    def write(
        self,
        batches: Mapping[str, pa.Table],
        *,
        expected: Positions,
        positions: Positions,
        consumed: Offsets | None = None,
        written_at: int,
    ) -> int | None:
        """Commit one slice; see ``Store.write``. ``written_at`` is Unix nanoseconds."""
        check_names(batches)
        fresh = {table.name: self._fresh(table, batches.get(table.name)) for table in INTERNED}

        def work(session: Session) -> int | None:
            _advance(session, expected, positions)
            number = _insert_slice(session, raw_rows(batches), written_at)
            record(session, number, _moved(expected, positions) if consumed is None else consumed)
            for table in INTERNED:
                insert_absent(session, table, fresh[table.name])
            if QUARANTINE.name in batches and batches[QUARANTINE.name].num_rows:
                session.insert(QUARANTINE.name, batches[QUARANTINE.name])
            return number

        number = self._database.commit(work)
        for table in INTERNED:
            self._remember(table, fresh[table.name])
        return number

    def _fresh(self, table: Table, rows: pa.Table | None) -> pa.Table:
        """The rows, each id once, that this process has not seen stored."""
        if rows is None or rows.num_rows == 0:
            return table.arrow.empty_table()
        known = self._known[table.name]
        first: dict[str, int] = {}
        for index, key in enumerate(rows.column(0).to_pylist()):
            if key not in known:
                first.setdefault(key, index)
        return rows.take(pa.array(first.values(), pa.int64()))

    def _remember(self, table: Table, rows: pa.Table) -> None:
        known = self._known[table.name]
        if len(known) + rows.num_rows > MAX_KNOWN:
            known.clear()
        known.update(rows.column(0).to_pylist())


def read_positions(session: Session) -> dict[Partition, int]:
    """The stored bus positions."""
    stored = session.rows('SELECT topic, "partition", next_offset FROM bus_positions')
    return {Partition(topic, number): offset for topic, number, offset in stored}


def _advance(session: Session, expected: Positions, positions: Positions) -> None:
    """Compare the stored positions with the expected ones, then store the new ones."""
    stored = read_positions(session)
    for partition in sorted({*expected, *positions}):
        found, wanted = stored.get(partition, 0), expected.get(partition, 0)
        if found != wanted:
            raise StoreBusy(
                f"the store stands at offset {found} of {partition.topic}/{partition.number}, not"
                f" at {wanted}: another writer was faster; read again from there",
                retry_after=0.1,
            )
    changed = {part: offset for part, offset in positions.items() if stored.get(part) != offset}
    if not changed:
        return
    moved = sorted(changed.items())
    places = {
        "topics": [partition.topic for partition, _ in moved],
        "numbers": [partition.number for partition, _ in moved],
    }
    # one statement for all partitions: each costs DuckLake milliseconds, whatever it does
    if changed.keys() & stored.keys():
        session.run(_FORGET_POSITIONS, places)
    session.run(_NOTE_POSITIONS, places | {"offsets": [offset for _, offset in moved]})


_PLACES = "unnest($topics::VARCHAR[]), unnest($numbers::INTEGER[])"
_FORGET_POSITIONS = f'DELETE FROM bus_positions WHERE (topic, "partition") IN (SELECT ({_PLACES}))'  # noqa: S608
_NOTE_POSITIONS = f"INSERT INTO bus_positions SELECT {_PLACES}, unnest($offsets::BIGINT[])"


def check_names(batches: Mapping[str, pa.Table]) -> None:
    """Refuse batches of tables that cannot be written; raises InvalidInput."""
    unknown = sorted(batches.keys() - {table.name for table in (*RAW, *INTERNED, QUARANTINE)})
    if unknown:
        allowed = "raw and interned tables, and quarantine"
        raise InvalidInput("batches", found=", ".join(unknown), allowed=allowed)


def _moved(expected: Positions, positions: Positions) -> dict[Partition, OffsetRange]:
    """What was consumed when positions moved."""
    return {
        partition: OffsetRange(expected.get(partition, 0), until)
        for partition, until in positions.items()
        if until > expected.get(partition, 0)
    }


def raw_rows(batches: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The raw tables among batches that have rows."""
    return {t.name: batches[t.name] for t in RAW if t.name in batches and batches[t.name].num_rows}


def take_number(session: Session, *, given: bool = True) -> int:
    """The next number of a slice; counted up when it is ``given`` out.

    The row is changed in every write, even to the same number: of two that were under way at once,
    from whatever positions, one finds it changed and fails. DuckLake would else let both commit
    when they only insert, as the first writes of a partition and of an interned row do.
    """
    ((last,),) = session.rows("SELECT value FROM counters WHERE name = 'slice'")
    number = int(last) + 1
    stored = {"number": number if given else last}
    session.run("UPDATE counters SET value = $number WHERE name = 'slice'", stored)
    return number


def _insert_slice(session: Session, raw: Mapping[str, pa.Table], written_at: int) -> int | None:
    """Append the raw rows as a new slice; None when there are none."""
    number = take_number(session, given=bool(raw))
    if not raw:
        return None
    insert_slice(session, number, raw, written_at)
    return number


def insert_slice(
    session: Session, number: int, raw: Mapping[str, pa.Table], written_at: int
) -> None:
    """Append the raw rows of a new slice."""
    insert_raw(session, number, raw)
    session.run(
        "INSERT INTO slices VALUES ($number, make_timestamp_ns($now), $rows, false)",
        {
            "number": number,
            "now": written_at,
            "rows": sum(rows.num_rows for rows in raw.values()),
        },
    )


def insert_raw(session: Session, number: int, raw: Mapping[str, pa.Table]) -> None:
    """Append raw rows under the number of a slice."""
    for name, rows in raw.items():
        session.insert(name, _sorted(name, rows), slice_number=number)


def _sorted(name: str, rows: pa.Table) -> pa.Table:
    """Rows of one trace side by side, so that its id is stored once per run."""
    key = _SORTED_BY.get(name)
    return rows if key is None else rows.take(pc.sort_indices(rows, [(key, "ascending")]))


def insert_absent(session: Session, table: Table, rows: pa.Table) -> None:
    """Append interned rows whose id is not stored yet."""
    if rows.num_rows == 0:
        return
    key = table.names[0]
    stored = session.rows(
        f"SELECT {key} FROM {table.name} WHERE {key} IN (SELECT unnest($ids::VARCHAR[]))",  # noqa: S608
        {"ids": rows.column(0).to_pylist()},
    )
    absent = rows.filter(
        pc.invert(pc.is_in(rows.column(0), pa.array([key for (key,) in stored], pa.string())))
    )
    if absent.num_rows:
        session.insert(table.name, absent)
