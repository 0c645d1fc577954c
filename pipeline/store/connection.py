"""Connections: sessions that read, and transactions that commit whole or not at all.

Both places to keep rows are attached under one name to an in-memory DuckDB, so that every statement
reads the same on either: a DuckDB file (one process at a time) or DuckLake (Parquet files with a
catalog in SQLite or PostgreSQL, several processes).
"""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import polars as pl
import pyarrow as pa

from pipeline.errors import InvalidInput, MeshweirError, StoreBusy
from pipeline.store.attach import CATALOG, attach_file, attach_lake, away, chosen, quoted
from pipeline.store.courtesy import Courtesy
from pipeline.store.settings import Backend, StoreSettings

LOG_BYTES = 64 * 1024 * 1024
"""Size of the write-ahead log at which a commit folds it into the file."""

PATIENCE: Final = 20.0
"""Seconds for which a transaction that lost to another is tried again."""

LARGEST_PAUSE: Final = 0.5
"""Seconds between two attempts, at most."""

T = TypeVar("T")
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


class Overtaken(StoreBusy):
    """Another transaction committed first what this one touches; nothing was written."""


class Database:
    """An attached store: sessions for readers, and one transaction at a time for writers."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        backend: Backend,
        courtesy: Courtesy | None = None,
    ) -> None:
        self._connection = connection
        self._opening = threading.Lock()
        self._writing = threading.Lock()
        self._courtesy = courtesy
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
        turn = self._courtesy.turn() if self._courtesy else nullcontext()
        with self._writing, turn, self.session() as session:
            session.run("BEGIN TRANSACTION")
            try:
                yield session
                session.run("COMMIT")
            except BaseException:
                _roll_back(session)
                raise

    def commit(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` in a transaction, again from the start where another was faster.

        ``work`` must read all that it decides by inside its transaction.

        Raises:
            StoreBusy: others were faster again and again; nothing was written.
        """
        until = time.monotonic() + PATIENCE
        pause = 0.01
        while True:
            try:
                with self.transaction() as session:
                    return work(session)
            except Overtaken:
                if time.monotonic() >= until:
                    raise
            time.sleep(random.uniform(0.2, 1.0) * pause)  # noqa: S311 - no secret
            pause = min(pause * 2, LARGEST_PAUSE)

    def close(self) -> None:
        """Checkpoint and let go; idempotent."""
        with self._writing, self._opening:
            if not self._closed:
                self._closed = True
                # detaching checkpoints, and gives the lock back even if a cursor is still alive
                self._connection.execute("USE memory")
                self._connection.execute(f"DETACH {CATALOG}")
                self._connection.close()
                if self._courtesy:
                    self._courtesy.close()


def connect(
    directory: Path,
    settings: StoreSettings,
    *,
    prefer: Backend = Backend.FILE,
    read_only: bool = False,
) -> Database:
    """Open the store in ``directory``, making both when they are not there.

    A reader makes nothing. ``prefer`` is the backend of a store that is new.

    Raises:
        StoreBusy: another process holds the file, the catalog does not answer, or there is nothing
            to read yet.
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
    backend = chosen(directory, settings, prefer)
    connection = duckdb.connect(":memory:", config=_options(spill, settings))
    try:
        if backend is Backend.FILE:
            attach_file(connection, directory, read_only=read_only)
        else:
            attach_lake(connection, directory, settings, read_only=read_only)
        connection.execute(f"SET allowed_directories = [{quoted(directory)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    shared = backend is Backend.DUCKLAKE and not read_only
    return Database(connection, backend, Courtesy(directory) if shared else None)


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


_LOST: Final = re.compile(
    r"database is locked|Transaction conflict|could not serialize|duplicate key|deadlock detected"
    r"|lock timeout|Exceeded the maximum retry count"
)
"""How DuckLake and its catalogs say that another transaction was faster."""


def _translated(error: duckdb.Error) -> MeshweirError | duckdb.Error:
    """DuckDB's error as one of ours, where the caller can do something about it."""
    if isinstance(error, duckdb.InterruptException):
        return StoreBusy("the question took longer than its time limit; ask for less")
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreBusy(f"the store is out of memory; raise its memory limit ({error})")
    text = str(error)
    first = " ".join(text.split())[:300]
    if _LOST.search(text):
        return Overtaken(f"another writer was faster ({first})", retry_after=0.1)
    gone = away(text)
    if gone is not None:
        return StoreBusy(f"the catalog of the store does not answer ({gone})", retry_after=1.0)
    moved = isinstance(error, duckdb.IOException) and "No such file" in text
    if moved or isinstance(error, duckdb.TransactionException):
        return StoreBusy(f"rows moved meanwhile; try again ({first})", retry_after=0.1)
    return error


def _roll_back(session: Session) -> None:
    """Undo; a transaction that failed at its commit is already undone."""
    try:
        session.run("ROLLBACK")
    except duckdb.Error:
        return
