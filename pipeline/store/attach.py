"""Attaching the rows to a DuckDB: a file, or DuckLake with its catalog in SQLite or PostgreSQL."""

import importlib.util
import random
import re
import time
from pathlib import Path
from typing import Final

import duckdb

from pipeline.errors import InvalidInput, MeshweirError, StoreBusy, StoreIncompatible
from pipeline.store.settings import POSTGRES, Backend, StoreSettings

CATALOG: Final = "meshweir"
"""Name under which the rows are attached."""

METADATA: Final = f"__ducklake_metadata_{CATALOG}"
"""Name under which DuckLake attaches its own catalog."""

STORAGE_VERSION: Final = "v1.5.0"
ROW_GROUP_ROWS: Final = 16_384
"""A slice larger than this goes to the file once, compressed, and not through the write-ahead log.

Measured with slices of 75,000 spans: 1.8 CPU-seconds per million, 53 bytes a span, no write slower
than 0.2 s. With DuckDB's own 122,880 rows and 256 KiB blocks each row is logged first and written
again at the next checkpoint: 3.7, 46 and 0.5 s.
"""
BLOCK_BYTES: Final = 65_536
"""Small row groups leave larger blocks half empty; in smaller ones numbers no longer pack."""

FILE_NAME: Final = "store.duckdb"
LAKE_CATALOG_NAME: Final = "catalog.sqlite"
LAKE_DATA_NAME: Final = "rows"

SESSION: Final = (
    "connect_timeout=10 application_name=meshweir keepalives_idle=10 keepalives_interval=5"
    " keepalives_count=3 tcp_user_timeout=20000 options='-c idle_in_transaction_session_timeout=60s"
    " -c lock_timeout=10s'"
)
"""How a session to PostgreSQL behaves unless told otherwise.

A process that is stopped in a transaction is cut off after a minute, so that it cannot hold the
catalog's rows for ever. A transaction that writes Parquet is idle meanwhile; none takes that long.
"""

SECRET: Final = "store_catalog"  # noqa: S105 - the name under which DuckDB keeps it
ATTEMPTS: Final = 8
"""Attempts to attach a catalog that another process is making or writing at the same moment."""

_RACE: Final = re.compile(r"database is locked|already exists|duplicate key|could not serialize")
_ABSENT: Final = re.compile(r"unable to open database file|does not exist - and creating")
_AWAY: Final = re.compile(
    r"[Uu]nable to connect to Postgres|server closed the connection|terminating connection"
    r"|no connection to the server|connection to server .* failed|SSL connection has been closed"
    r"|idle-in-transaction timeout|could not receive data from server|Failed to execute query"
)
_CONNECTED_WITH: Final = re.compile(r'(?:at path \+ |at )"[^"]*"[: ]*')


def chosen(directory: Path, settings: StoreSettings, prefer: Backend) -> Backend:
    """Where the rows of a directory are kept; ``prefer`` is where a new store is made.

    Raises:
        InvalidInput: a catalog is named for a DuckDB file.
    """
    backend = settings.backend
    if backend is Backend.AUTO:
        backend = _found(directory, settings) or prefer
    if backend is Backend.FILE and settings.catalog:
        raise InvalidInput(
            "store_backend", found="file", allowed="ducklake, or no store_catalog: a file has none"
        )
    return backend


def _found(directory: Path, settings: StoreSettings) -> Backend | None:
    if settings.catalog or (directory / LAKE_CATALOG_NAME).exists():
        return Backend.DUCKLAKE
    return Backend.FILE if (directory / FILE_NAME).exists() else None


def attach_file(connection: duckdb.DuckDBPyConnection, directory: Path, *, read_only: bool) -> None:
    """Attach the DuckDB file, making it where it is not there."""
    path = directory / FILE_NAME
    options = f"STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
    if not path.exists():
        if read_only:
            raise _not_made_yet(directory)
        options += f", BLOCK_SIZE {BLOCK_BYTES}"
    try:
        connection.execute(
            f"ATTACH {quoted(path)} AS {CATALOG} ({'READ_ONLY' if read_only else options})"
        )
    except duckdb.Error as error:
        raise _refused(path, error) from error


def attach_lake(
    connection: duckdb.DuckDBPyConnection,
    directory: Path,
    settings: StoreSettings,
    *,
    read_only: bool,
) -> None:
    """Attach DuckLake, making its catalog where it is not there."""
    scanner = "postgres_scanner" if settings.catalog else "sqlite_scanner"
    for extension in (scanner, "ducklake"):
        connection.execute(f"LOAD {quoted(_extension(extension))}")
    if not settings.catalog:
        # else each scan of the catalog has a connection of its own, and sees what others committed
        # since the transaction began (docs/decisions/0006); GLOBAL, for DuckLake's connections too
        connection.execute("SET GLOBAL sqlite_disable_multithreaded_scans = true")
    for option, value in (("max_retry_count", 10), ("retry_wait_ms", 20), ("retry_backoff", 1.5)):
        connection.execute(f"SET ducklake_{option} = {value}")
    data = directory / LAKE_DATA_NAME
    options = f"DATA_PATH {quoted(data)}"
    options += ", READ_ONLY" if read_only else ""
    if not read_only:
        data.mkdir(exist_ok=True, mode=0o700)
    if settings.catalog:
        _without_password(settings.catalog)
        where = settings.catalog.replace(POSTGRES, f"{POSTGRES}{SESSION} ", 1)
        options += _password(connection, settings)
    else:
        where = f"sqlite:{directory / LAKE_CATALOG_NAME}"
        options += ", META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000"
        # the catalog lies beside its files, so the whole directory may have been moved
        options += ", OVERRIDE_DATA_PATH true"
    statement = f"ATTACH {quoted(f'ducklake:{where}')} AS {CATALOG} ({options})"
    try:
        _attach_patiently(connection, statement)
    except duckdb.Error as error:
        if _ABSENT.search(str(error)):
            raise _not_made_yet(directory) from None
        if settings.catalog:
            # DuckDB's own text holds the words of the connection, so it goes no further
            raise _refused_catalog(error) from None
        raise _refused(directory / LAKE_CATALOG_NAME, error) from error


def _attach_patiently(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Of processes that make one catalog at the same moment, one does and the others find it."""
    for attempt in range(ATTEMPTS):
        try:
            connection.execute(statement)
        except duckdb.Error as error:
            if attempt + 1 == ATTEMPTS or not _RACE.search(str(error)):
                raise
        else:
            return
        time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - no secret


def _without_password(words: str) -> None:
    """Refuse words that hold a password, without repeating them."""
    if re.search(r"\bpassword\s*=", words):
        raise InvalidInput(
            "store_catalog",
            found="words with a password",
            allowed="words without: the password is read from store_catalog_password or its file",
        )


def _password(connection: duckdb.DuckDBPyConnection, settings: StoreSettings) -> str:
    """Hand DuckDB the password apart from the words, which its errors repeat."""
    password = settings.password()
    if password is None:
        return ""
    connection.execute(f"CREATE SECRET {SECRET} (TYPE postgres, PASSWORD {quoted(password)})")
    return f", META_SECRET '{SECRET}'"


def quoted(text: Path | str) -> str:
    """A text as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"


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


def away(text: str) -> str | None:
    """What PostgreSQL or the way to it said, when an error says that it cannot be asked."""
    return _said(text) if _AWAY.search(text) else None


def _said(text: str) -> str:
    """The first line of an error without the words of the connection."""
    return _CONNECTED_WITH.sub("", text).strip().splitlines()[0]


def _refused_catalog(error: duckdb.Error) -> MeshweirError:
    """Why a catalog in PostgreSQL could not be attached, and what to do."""
    said = _said(str(error))
    denied = "authentication failed", "no password supplied", "role ", "database ", "permission"
    if any(word in said for word in denied):
        return InvalidInput(
            "store_catalog",
            found=said,
            allowed="a database that exists and a user who may create tables in it; the password"
            " comes from store_catalog_password, its file, or PGPASSWORD",
        )
    if away(str(error)) is not None:
        return StoreBusy(
            f"the catalog of the store does not answer ({said}); start PostgreSQL or correct"
            " store_catalog",
            retry_after=5.0,
        )
    return StoreIncompatible(
        f"the catalog of the store cannot be opened by this version ({said}); use the version that"
        " wrote it, or name an empty database"
    )


def _not_made_yet(directory: Path) -> StoreBusy:
    return StoreBusy(
        f"there is no store in {directory} yet; the process that writes makes it: start it, or wait"
        " until it has started",
        retry_after=1.0,
    )


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
    if _RACE.search(text):
        return StoreBusy(f"the store {path} is being written ({text.splitlines()[0]})")
    if isinstance(error, duckdb.IOException) and "Permission denied" in text:
        return InvalidInput(
            "data directory", found=str(path), allowed="a file this user can read and write"
        )
    first_line = text.splitlines()[0]
    return StoreIncompatible(
        f"the store {path} cannot be opened by this version ({first_line}); use the version that"
        " wrote it, restore a copy, or move the file away to begin anew"
    )
