"""The tables of the store are those of the model, and versions are told apart."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import StoreIncompatible
from pipeline.model.messages import Partition
from pipeline.model.runs import FINAL, Run
from pipeline.model.table import DUCKDB
from pipeline.model.tables import BY_METRICS, METRIC_POINTS, RAW
from pipeline.store import StoreSettings, open_store, schema
from pipeline.store.attach import CATALOG
from pipeline.store.connection import Database, connect
from tests.pipeline.store.rows import MINUTE, spans

NEWEST = schema.MIGRATIONS[-1].number

COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE database_name = $catalog AND table_name <> 'requests' AND schema_name = 'main'
ORDER BY table_name, column_index
"""


def columns(database: Database) -> list[tuple[str, str, str]]:
    with database.session() as session:
        return session.rows(COLUMNS, {"catalog": CATALOG})


def test_every_table_of_the_model_is_there_with_its_types(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    database = connect(tmp_path, StoreSettings())
    found = [row for row in columns(database) if row[0] != "schema_migrations"]
    database.close()
    wanted = [
        (table.name, column.name, DUCKDB[column.kind])
        for table in schema.tables()
        for column in schema.columns_of(table)
    ]
    assert found == sorted(wanted, key=lambda row: row[0])


def test_raw_tables_begin_with_their_slice() -> None:
    assert [schema.columns_of(table)[0].name for table in RAW] == ["slice"] * len(RAW)


def test_a_newer_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = schema.Migration(schema.MIGRATIONS[-1].number + 1, "from the future", lambda _: [])
    with monkeypatch.context() as future:
        future.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, newer))
        open_store(tmp_path).close()
    with pytest.raises(StoreIncompatible, match=rf"version {newer.number}.*upgrade the program"):
        open_store(tmp_path)


def test_an_older_store_goes_through_the_steps_it_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path).close()
    count = "INSERT INTO counters VALUES ('mended', 1)"
    count_on = "UPDATE counters SET value = value + 1 WHERE name = 'mended'"
    steps = (
        schema.Migration(NEWEST + 1, "count", lambda _: [count]),
        schema.Migration(NEWEST + 2, "count on", lambda _: [count_on]),
    )
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *steps))
    for _ in range(2):
        open_store(tmp_path).close()
    database = connect(tmp_path, StoreSettings())
    with database.session() as session:
        assert session.rows("SELECT value FROM counters WHERE name = 'mended'") == [(2,)]
        versions = session.rows("SELECT version, name FROM schema_migrations ORDER BY version")
    database.close()
    assert versions[0] == (1, "make every table")
    assert versions[-2:] == [(NEWEST + 1, "count"), (NEWEST + 2, "count on")]


def as_in_version_1(directory: Path) -> None:
    """Take away what later versions brought."""
    database = connect(directory, StoreSettings())
    with database.transaction() as session:
        session.run("DROP TABLE slice_offsets")
        session.run("DROP TABLE leases")
        session.run("DROP TABLE stale_minutes")
        session.run("DROP TABLE final_minutes")
        for column in ("widths", *(column.name for column in BY_METRICS)):
            session.run(f"ALTER TABLE edge_minutes DROP COLUMN {column}")
        session.run("ALTER TABLE node_minutes DROP COLUMN widths")
        session.run("ALTER TABLE access_logs DROP COLUMN consumer")
        session.run("ALTER TABLE access_logs DROP COLUMN upstream_response_status_code")
        session.run("ALTER TABLE spans DROP COLUMN consumer")
        session.run("DROP TABLE consumer_minutes")
        session.run("DELETE FROM counters WHERE name = 'homes'")
        session.run("DELETE FROM schema_migrations WHERE version > 1")
    database.close()


def test_a_store_of_before_the_lease_gets_one(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    as_in_version_1(tmp_path)
    store = open_store(tmp_path)
    store.replace([], {}, cause=0)
    assert store.lead() is not None
    assert store.ask("state").row(0) == (0, 0)
    store.close()


def test_metric_points_of_an_older_store_are_looked_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    point = {"name": "up", "time": 3 * MINUTE + 7, "resource_id": "a", "value": 1.0}
    rows = [dict.fromkeys(METRIC_POINTS.names) | point] * 2
    batch = pa.Table.from_pylist(rows, schema=METRIC_POINTS.arrow)
    store.write({"metric_points": batch}, expected={}, positions={})
    store.close()
    as_in_version_1(tmp_path)
    store = open_store(tmp_path)
    assert store.stale_minutes().rows() == [(3 * MINUTE, 1)]
    store.close()


def test_what_a_store_of_version_1_was_made_from_is_final(tmp_path: Path) -> None:
    part = Partition("otlp_spans", 3)
    store = open_store(tmp_path)
    store.write({"spans": spans([1])}, expected={}, positions={part: 7})
    store.close()
    as_in_version_1(tmp_path)
    store = open_store(tmp_path)
    assert store.runs([Run(part, 0, 100)]) == [Run(part, 0, 7, FINAL)]
    assert (store.homes_moved(), store.positions()) == (0, {part: 7})
    store.write({"spans": spans([2])}, expected={part: 7}, positions={part: 9})
    assert store.runs([Run(part, 8, 9)]) == [Run(part, 7, 9, 2)]
    store.close()


def test_a_step_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path).close()
    broken = schema.Migration(
        NEWEST + 1, "drop what is there", lambda _: ["DROP TABLE slices", "no sql"]
    )
    with monkeypatch.context() as once:
        once.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        with pytest.raises(Exception, match="syntax error"):
            open_store(tmp_path)
    open_store(tmp_path).close()


def test_a_store_with_other_columns_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    database = connect(tmp_path, StoreSettings())
    with database.transaction() as session:
        session.run("ALTER TABLE logs DROP COLUMN flags")
    database.close()
    with pytest.raises(StoreIncompatible, match=r"columns of logs.*flags"):
        open_store(tmp_path)
