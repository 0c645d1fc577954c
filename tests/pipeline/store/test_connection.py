"""Opening a store: what cannot be opened is refused with what to do about it."""

import importlib.util
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import InvalidInput, StoreBusy, StoreIncompatible
from pipeline.store import Backend, StoreSettings, open_store
from pipeline.store.attach import FILE_NAME
from pipeline.store.connection import connect

HOLDING = """
import sys
from pathlib import Path
from pipeline.store import open_store
store = open_store(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_store_held_by_another_process_names_the_holder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreBusy, match=rf"in use by .*PID {holder.pid}.*stop that process"):
            open_store(tmp_path)
        holder.kill()
    open_store(tmp_path).close()


def test_a_store_open_in_this_process_is_busy(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StoreBusy, match="in use"):
        open_store(tmp_path)
    store.close()
    open_store(tmp_path).close()


def test_closing_twice_is_harmless_and_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreBusy, match="closed"):
        store.positions()


@pytest.mark.parametrize("junk", [b"not a database " * 1000, b"SQLite format 3\0" + b"\0" * 8192])
def test_a_file_that_is_not_a_store_is_refused(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(junk)
    with pytest.raises(StoreIncompatible, match=r"store\.duckdb cannot be opened.*restore a copy"):
        open_store(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == junk


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    whole = (tmp_path / FILE_NAME).read_bytes()
    (tmp_path / FILE_NAME).write_bytes(whole[: 4096 * 3 + 100] + b"\xff" * 200_000)
    with pytest.raises(StoreIncompatible, match=r"store\.duckdb cannot be opened"):
        open_store(tmp_path)


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / FILE_NAME)) as other:
        other.execute("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(StoreIncompatible, match=r"not Meshweir's.*customers"):
        open_store(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="data directory"):
        open_store(tmp_path / "file" / "data")


def test_ducklake_without_its_extension_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidInput, match=r"meshweir\[ducklake\]"):
        open_store(tmp_path, StoreSettings(backend=Backend.DUCKLAKE))


def test_a_path_with_quotes_is_a_path(tmp_path: Path) -> None:
    directory = tmp_path / 'it\'s "here"'
    open_store(directory).close()
    assert (directory / FILE_NAME).exists()


def test_others_on_the_machine_cannot_read_what_spills(tmp_path: Path) -> None:
    open_store(tmp_path / "data").close()
    assert stat.S_IMODE((tmp_path / "data" / "spill").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/meshweir-escape.csv'",
        "ATTACH '/tmp/meshweir-escape.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ],
)
def test_sql_reaches_nothing_outside_the_data_directory(tmp_path: Path, statement: str) -> None:
    database = connect(tmp_path, StoreSettings())
    with (
        pytest.raises(duckdb.Error, match=r"disabled|locked|enable"),
        database.session() as session,
    ):
        session.run(statement)
    database.close()
