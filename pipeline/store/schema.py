"""The tables as SQL, derived from ``pipeline.model.tables``, and the numbered migrations.

Only what a DuckDB file and DuckLake both accept: no keys, no unique indexes, no sequences. A new
store is made at the newest version at once; an older one goes through the steps it has not seen.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.errors import StoreBusy, StoreIncompatible
from pipeline.model.table import DUCKDB, Column, Table
from pipeline.model.tables import (
    ACCESS_LOGS,
    BY_METRICS,
    CONSUMER_MINUTES,
    DERIVED,
    EDGE_MINUTES,
    INTERNED,
    NODE_MINUTES,
    QUARANTINE,
    RAW,
    SLICE,
    SPANS,
)
from pipeline.store.attach import CATALOG
from pipeline.store.connection import Database, Session
from pipeline.store.settings import Backend

SLICE_OFFSETS: Final = Table(
    "slice_offsets",
    "a run of messages that one store commit was made from",
    (
        Column("slice", "i64", "that commit's; null: they gave no raw row; 0: past their age"),
        Column("topic", "text", "bus topic"),
        Column("partition", "i32", "bus partition"),
        Column("first_offset", "i64", "offset of the first message"),
        Column("next_offset", "i64", "offset after the last message"),
    ),
)

METRIC_BOOKKEEPING: Final = (
    Table(
        "stale_minutes",
        "one reason to derive anew what metrics say of a minute, and of those beside it",
        (
            Column("minute", "time", "its start"),
            Column("cause", "i64", "the slice, or rewrite, whose points made it stale"),
        ),
    ),
    Table(
        "final_minutes",
        "a minute of which retention took metric points: what was derived from them is final",
        (Column("minute", "time", "its start"),),
    ),
)

BOOKKEEPING: Final = (
    Table(
        "bus_positions",
        "how far one partition of the bus is in the store",
        (
            Column("topic", "text", "bus topic"),
            Column("partition", "i32", "bus partition"),
            Column("next_offset", "i64", "offset of the first message that is not in the store"),
        ),
    ),
    Table(
        "counters",
        "one number that every writer changes, so that two of them cannot both succeed",
        (
            Column("name", "text", "`slice`, or `homes`: how often a rewrite moved homes"),
            Column("value", "i64", "the last number given out"),
        ),
    ),
    Table(
        "leases",
        "who may do what only one process does at a time; changed in each of its transactions",
        (
            Column("name", "text", "what it is for: `analysis`"),
            Column("holder", "text", "host, process and a random word; empty when nobody holds it"),
            Column("term", "i64", "how often it changed hands"),
            Column("until", "i64", "Unix nanoseconds from which another process may take it"),
            Column("changes", "i64", "transactions of its holders after which answers may differ"),
        ),
    ),
    Table(
        "slices",
        "one store commit",
        (
            SLICE,
            Column("written_at", "time", "when it was committed"),
            Column("rows", "i64", "raw rows it wrote"),
            Column("noticed", "bool", "true once the analysis has looked at it"),
        ),
    ),
    Table(
        "dirty_slices",
        "one reason to recompute the unit that holds a slice",
        (
            SLICE,
            Column("cause", "i64", "the slice whose rows made it dirty"),
        ),
    ),
    Table(
        "slice_links",
        "a slice that may hold rows of traces or requests whose home is an earlier one",
        (
            Column("home", "i64", "lowest slice with rows of those"),
            SLICE,
        ),
    ),
    Table(
        "units",
        "a range of slices that were analysed together, both ends included",
        (
            Column("low", "i64", "first slice; the derived rows of the unit carry it"),
            Column("high", "i64", "last slice"),
        ),
    ),
    SLICE_OFFSETS,
    *METRIC_BOOKKEEPING,
)
"""The store's own tables; they never leave this package."""


def columns_of(table: Table) -> tuple[Column, ...]:
    """The columns of a table as stored: a raw table has its slice in front."""
    return (SLICE, *table) if table in RAW else table.columns


def tables() -> tuple[Table, ...]:
    """Every table of the store."""
    return (*RAW, *INTERNED, *DERIVED, QUARANTINE, *BOOKKEEPING)


def create_table(table: Table, backend: Backend) -> str:
    """The statement that makes a table."""
    columns = ",\n  ".join(_column(column, backend) for column in columns_of(table))
    return f"CREATE TABLE {table.name} (\n  {columns}\n)"


def _column(column: Column, backend: Backend) -> str:
    # zstd more than halves JSON that differs from row to row, but takes 4 bytes even for a null
    packed = column.name == "attributes" and backend is Backend.FILE
    return f'"{column.name}" {DUCKDB[column.kind]}' + (" USING COMPRESSION zstd" if packed else "")


class Migration(NamedTuple):
    """One step from a version to the next.

    Attributes:
        number: the version after the step.
        name: what it does, in a few words.
        statements: the SQL for a backend.
    """

    number: int
    name: str
    statements: Callable[[Backend], Sequence[str]]


def _everything(backend: Backend) -> list[str]:
    made = [create_table(table, backend) for table in tables()]
    options = [
        f"CALL {CATALOG}.set_option('parquet_compression', 'zstd')",
        f"CALL {CATALOG}.set_option('data_inlining_row_limit', 0)",
    ]
    lake = options if backend is Backend.DUCKLAKE else []
    return [*lake, *made]


def _slice_offsets(backend: Backend) -> list[str]:
    """What an older store was made from is not known by slice: it can be replayed no more."""
    final = 'SELECT 0, topic, "partition", 0, next_offset FROM bus_positions WHERE next_offset > 0'
    return [
        create_table(SLICE_OFFSETS, backend),
        f"INSERT INTO slice_offsets {final}",
        "INSERT INTO counters VALUES ('homes', 0)",
    ]


def _lease(backend: Backend) -> list[str]:
    (leases,) = (table for table in BOOKKEEPING if table.name == "leases")
    return [create_table(leases, backend)]


FIRST_ROWS: Final = {
    "counters": "('slice', 0), ('homes', 0)",
    "leases": "('analysis', '', 0, 0, 0)",
}
"""Rows that are changed and never deleted; each stands in its table before anything is written."""


def _gateways(_: Backend) -> list[str]:
    return _added(ACCESS_LOGS, "consumer", "upstream_response_status_code")


def _consumers(backend: Backend) -> list[str]:
    """What older spans told of consumers stays among their attributes."""
    return [*_added(SPANS, "consumer"), create_table(CONSUMER_MINUTES, backend)]


def _added(table: Table, *names: str) -> list[str]:
    """The statements that give a table columns it has not yet."""
    return [
        f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {column.name} {DUCKDB[column.kind]}"
        for column in table
        if column.name in names
    ]


def _metric_minutes(backend: Backend) -> list[str]:
    """What metrics say, by the minute; of points that came before, too."""
    columns = [*_added(EDGE_MINUTES, "widths"), *_added(NODE_MINUTES, "widths")]
    made = [create_table(table, backend) for table in METRIC_BOOKKEEPING]
    return [*columns, *made, _ALL_STALE]


_ALL_STALE: Final = (
    "INSERT INTO stale_minutes"
    " SELECT date_trunc('minute', time)::TIMESTAMP_NS AS minute, max(slice)"
    " FROM metric_points WHERE time IS NOT NULL GROUP BY 1"
)
"""Has all minutes of points that are still there derived anew."""


def _by_metrics(_: Backend) -> list[str]:
    """What metrics alone tell of edges; of points that came before, too."""
    return [*_added(EDGE_MINUTES, *(column.name for column in BY_METRICS)), _ALL_STALE]


INLINED: Final = (
    "bus_positions", "counters", "dirty_slices", "leases", "slice_offsets", "stale_minutes",
    "units",
)  # fmt: skip
"""Tables of few rows that often change: DuckLake keeps those in its catalog, not in files."""

INLINED_ROWS: Final = 1_000_000
"""Past any number of rows they get at once, so that none of theirs ever goes to a file.

A table with rows in both places meets defects of DuckLake 1.0 (duckdb/ducklake issues 1215, 650).
"""


def views() -> list[str]:
    """The statements that make the views, one file each in ``views/``."""
    folder = Path(__file__).parent / "views"
    return [
        f"CREATE OR REPLACE VIEW {path.stem} AS\n{path.read_text(encoding='utf-8')}"
        for path in sorted(folder.glob("*.sql"))
    ]


MIGRATIONS: Final = (
    Migration(1, "make every table", _everything),
    Migration(2, "know what each slice was made from", _slice_offsets),
    Migration(3, "lease of the analysis", _lease),
    Migration(4, "consumers and upstream status of gateways", _gateways),
    Migration(5, "what metrics say of edges", _metric_minutes),
    Migration(6, "consumers of spans, and their minutes", _consumers),
    Migration(7, "what metrics alone tell of edges", _by_metrics),
)
"""All steps, in order. The first makes a store as it is today; a later one mends an older store."""


def migrate(database: Database) -> None:
    """Bring a store to this version.

    Raises:
        StoreIncompatible: a newer version wrote the store, or its tables are not ours.
    """
    database.commit(lambda session: _migrate(session, database.backend))
    if database.backend is Backend.DUCKLAKE:
        # DuckLake takes the options of a table only once the table is committed
        database.commit(_set_options)
    # and a first row that went to a file would be looked for there for ever
    database.commit(_insert_first_rows)


def check(database: Database) -> None:
    """Refuse a store that is not of this version, and leave it as it is.

    Raises:
        StoreBusy: the store is not made yet.
        StoreIncompatible: another version wrote it, or its tables are not ours.
    """
    with database.session() as session:
        seen, newest = _version(session), MIGRATIONS[-1].number
        _refuse_newer(seen)
        if not seen:
            raise StoreBusy("the store is being made; come back when its writer has started")
        if seen < newest:
            raise StoreIncompatible(
                f"the store is at version {seen}, this program reads {newest}: start a process that"
                " writes (meshweir process) of this version, which upgrades it"
            )
        _check(session)


def _migrate(session: Session, backend: Backend) -> None:
    seen = _version(session)
    _refuse_newer(seen)
    for step in MIGRATIONS if seen else MIGRATIONS[:1]:
        if step.number > seen:
            for statement in step.statements(backend):
                session.run(statement)
    if seen < MIGRATIONS[-1].number:
        # last, as they speak of the tables that are now
        for statement in views():
            session.run(statement)
        _record(session, [step for step in MIGRATIONS if step.number > seen])
    _check(session)


def _refuse_newer(seen: int) -> None:
    newest = MIGRATIONS[-1].number
    if seen > newest:
        raise StoreIncompatible(
            f"the store is at version {seen}, this program knows {newest}: upgrade the program,"
            " or choose another data directory"
        )


def _insert_first_rows(session: Session) -> None:
    for table, row in FIRST_ROWS.items():
        if not session.rows(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608
            session.run(f"INSERT INTO {table} VALUES {row}")  # noqa: S608


def _set_options(session: Session) -> None:
    named = "SELECT value FROM ducklake_options($lake) WHERE option_name = $option"
    given = {"lake": CATALOG, "option": "data_inlining_row_limit"}
    if len(session.rows(f"{named} AND scope = 'TABLE'", given)) == len(INLINED):
        return
    for table in INLINED:
        session.run(
            f"CALL {CATALOG}.set_option"
            f"('data_inlining_row_limit', {INLINED_ROWS}, table_name => '{table}')"
        )


def _version(session: Session) -> int:
    """The version of the store; 0 when it is empty."""
    names = {name for (name,) in session.rows(_TABLES)}
    if "schema_migrations" in names:
        ((version,),) = session.rows("SELECT max(version) FROM schema_migrations")
        return int(version)
    if names:
        raise StoreIncompatible(
            f"the store holds tables that are not Meshweir's ({', '.join(sorted(names)[:3])});"
            " choose another data directory"
        )
    return 0


_TABLES = f"SELECT table_name FROM duckdb_tables() WHERE database_name = '{CATALOG}'"  # noqa: S608
_COLUMNS = (
    "SELECT table_name, column_name FROM duckdb_columns()"  # noqa: S608
    f" WHERE database_name = '{CATALOG}' AND NOT internal ORDER BY column_index"
)


def _record(session: Session, steps: Sequence[Migration]) -> None:
    session.run(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version INTEGER, name VARCHAR, applied_at TIMESTAMP_NS)"
    )
    for step in steps:
        session.run(
            "INSERT INTO schema_migrations VALUES ($version, $name, make_timestamp_ns($now))",
            {"version": step.number, "name": step.name, "now": time.time_ns()},
        )


def _check(session: Session) -> None:
    """Refuse a store whose columns are not those of this version."""
    stored: dict[str, list[str]] = {}
    for table, column in session.rows(_COLUMNS):
        stored.setdefault(table, []).append(column)
    for table in tables():
        wanted = {column.name for column in columns_of(table)}
        # rows are written by name, so columns that a migration added may stand last
        differing = sorted(wanted.symmetric_difference(stored.get(table.name, [])))
        if differing:
            raise StoreIncompatible(
                f"the columns of {table.name} are not those of this version"
                f" ({', '.join(differing[:5])}); use the version that wrote the store, or begin"
                " anew in another data directory"
            )
