"""Connections: the only module that imports duckdb.

Both places to keep rows are attached under one name to an in-memory DuckDB, so that every statement
reads the same on either: a DuckDB file (one process at a time) or DuckLake (Parquet files with a
catalog in SQLite, several processes).
"""

import importlib.util
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from pipeline.errors import InvalidInput, MeshweirError, StoreBusy, StoreIncompatible
from pipeline.store.settings import Backend, StoreSettings

CATALOG = "meshweir"
"""Name under which the rows are attached."""

STORAGE_VERSION = "v1.5.0"
ROW_GROUP_ROWS = 16_384
"""A slice larger than this goes to the file once, compressed, and not through the write-ahead log.

Measured with slices of 75,000 spans: 1.8 CPU-seconds per million, 53 bytes a span, no write slower
than 0.2 s. With DuckDB's own 122,880 rows and 256 KiB blocks each row is logged first and written
again at the next checkpoint: 3.7, 46 and 0.5 s.
"""
BLOCK_BYTES = 65_536
"""Small row groups leave larger blocks half empty; in smaller ones numbers no longer pack."""
LOG_BYTES = 64 * 1024 * 1024
"""Size of the write-ahead log at which a commit folds it into the file."""
FILE_NAME = "store.duckdb"
LAKE_CATALOG_NAME = "catalog.sqlite"
LAKE_DATA_NAME = "rows"

Parameters = Mapping[str, object]


class Session:
    """One connection, for one thread and one piece of work at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run a statement for its effect."""
        self._connection.execute(sql, dict(parameters or {}))

    def rows(self, sql: str, parameters: Parameters | None = None) -> list[tuple[Any, ...]]:
        """Run a query whose answer is small, and fetch it as tuples."""
        return self._connection.execute(sql, dict(parameters or {})).fetchall()

    def frame(self, sql: str, parameters: Parameters | None = None) -> pl.DataFrame:
        """Run a query and fetch its answer as a frame."""
        return self._connection.execute(sql, dict(parameters or {})).pl()

    def insert(self, table: str, rows: pa.Table, *, slice_number: int | None = None) -> None:
        """Append rows whose columns are those of ``table``; a slice number goes in front."""
        self._connection.register("incoming", rows)
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        front = "" if slice_number is None else f"{slice_number:d}, "
        into = columns if slice_number is None else f"slice, {columns}"
        try:
            self._connection.execute(
                f"INSERT INTO {table} ({into}) SELECT {front}{columns} FROM incoming"  # noqa: S608
            )
        finally:
            self._connection.unregister("incoming")

    def interrupt(self) -> None:
        """Stop what runs, from another thread."""
        self._connection.interrupt()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class Database:
    """An attached store: sessions for readers, and one transaction at a time for writers."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, backend: Backend) -> None:
        self._connection = connection
        self._opening = threading.Lock()
        self._writing = threading.Lock()
        self._closed = False
        self.backend = backend

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection of its own for the caller; DuckDB's errors leave as ours."""
        with self._opening:
            if self._closed:
                raise StoreBusy("the store is closed; open it again")
            session = Session(self._connection.cursor())
        try:
            session.run(f"USE {CATALOG}")
            yield session
        except duckdb.Error as error:
            raise _translated(error) from error
        finally:
            session.close()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose work becomes visible together, or not at all.

        Raises:
            StoreBusy: another process wrote the same rows meanwhile; nothing was written.
        """
        with self._writing, self.session() as session:
            session.run("BEGIN TRANSACTION")
            try:
                yield session
                session.run("COMMIT")
            except BaseException:
                _roll_back(session)
                raise

    def close(self) -> None:
        """Checkpoint and let go; idempotent."""
        with self._writing, self._opening:
            if not self._closed:
                self._closed = True
                # detaching checkpoints, and gives the lock back even if a cursor is still alive
                self._connection.execute("USE memory")
                self._connection.execute(f"DETACH {CATALOG}")
                self._connection.close()


def connect(directory: Path, settings: StoreSettings) -> Database:
    """Open the store in ``directory``, making both when they are not there.

    Raises:
        StoreBusy: another process holds the file.
        StoreIncompatible: the file is not ours, is damaged, or a newer version wrote it.
        InvalidInput: the directory cannot be made, or a backend's extension is not installed.
    """
    directory = directory.absolute()
    spill = directory / "spill"
    try:
        spill.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        allowed = f"a directory that can be written ({error.strerror})"
        raise InvalidInput("data directory", found=str(directory), allowed=allowed) from error
    connection = duckdb.connect(":memory:", config=_options(spill, settings))
    try:
        if settings.backend is Backend.FILE:
            _attach_file(connection, directory / FILE_NAME)
        else:
            _attach_lake(connection, directory)
        connection.execute(f"SET allowed_directories = [{_quoted(directory)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return Database(connection, settings.backend)


def _options(spill: Path, settings: StoreSettings) -> dict[str, Any]:
    return {
        "memory_limit": f"{settings.memory_limit_bytes // 1024}KiB",
        "threads": settings.threads,
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "checkpoint_threshold": f"{LOG_BYTES // 1024}KiB",
        "preserve_insertion_order": True,
    }


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _attach_file(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    options = f"STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
    if not path.exists():
        options += f", BLOCK_SIZE {BLOCK_BYTES}"
    try:
        connection.execute(f"ATTACH {_quoted(path)} AS {CATALOG} ({options})")
    except duckdb.Error as error:
        raise _refused(path, error) from error


def _attach_lake(connection: duckdb.DuckDBPyConnection, directory: Path) -> None:
    for extension in ("sqlite_scanner", "ducklake"):
        connection.execute(f"LOAD {_quoted(_extension(extension))}")
    catalog, data = directory / LAKE_CATALOG_NAME, directory / LAKE_DATA_NAME
    data.mkdir(exist_ok=True, mode=0o700)
    options = f"DATA_PATH {_quoted(data)}, META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000"
    try:
        connection.execute(
            f"ATTACH {_quoted(Path(f'ducklake:sqlite:{catalog}'))} AS {CATALOG} ({options})"
        )
    except duckdb.Error as error:
        raise _refused(catalog, error) from error


def _extension(name: str) -> Path:
    """The extension's file inside its wheel."""
    module = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(module)
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for place in places for path in Path(place).rglob(f"{name}.duckdb_extension")]
    if not found:
        raise InvalidInput(
            "store backend",
            found="ducklake",
            allowed="file; for ducklake install the extra of the same name:"
            f" pip install 'meshweir[ducklake]' (the wheel {module.replace('_', '-')} is missing)",
        )
    return found[0]


def _refused(path: Path, error: duckdb.Error) -> MeshweirError:
    """Why a store could not be attached, and what to do."""
    text = str(error)
    holder = re.search(r"lock is held in (.+?)(?: by user .*?)?\. See", text, re.DOTALL)
    if holder or "Could not set lock" in text or "already attached" in text:
        who = f" by {holder[1]}" if holder else ""
        return StoreBusy(
            f"the store {path} is in use{who}; stop that process, ask it over its API, or choose"
            " another data directory",
            retry_after=5.0,
        )
    if isinstance(error, duckdb.IOException) and "Permission denied" in text:
        return InvalidInput(
            "data directory", found=str(path), allowed="a file this user can read and write"
        )
    first_line = text.splitlines()[0]
    return StoreIncompatible(
        f"the store {path} cannot be opened by this version ({first_line}); use the version that"
        " wrote it, restore a copy, or move the file away to begin anew"
    )


def _translated(error: duckdb.Error) -> MeshweirError | duckdb.Error:
    """DuckDB's error as one of ours, where the caller can do something about it."""
    if isinstance(error, duckdb.InterruptException):
        return StoreBusy("the question took longer than its time limit; ask for less")
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreBusy(f"the store is out of memory; raise its memory limit ({error})")
    text = str(error)
    if isinstance(error, duckdb.TransactionException) or "database is locked" in text:
        return StoreBusy(f"another writer was faster ({text.splitlines()[0]})", retry_after=0.1)
    return error


def _roll_back(session: Session) -> None:
    """Undo; a transaction that failed at its commit is already undone."""
    try:
        session.run("ROLLBACK")
    except duckdb.Error:
        return
