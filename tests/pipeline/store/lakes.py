"""The DuckLakes of the tests: one with its catalog in SQLite, one in a PostgreSQL that runs."""

import importlib.util
from typing import Final

import polars as pl
import pytest

from pipeline.store import Backend, StoreSettings
from tests import postgres

LAKES: Final = ("sqlite", "postgres")


def lake_settings(request: pytest.FixtureRequest) -> StoreSettings:
    """Settings of the lake that ``request.param`` names; skips where it cannot be had."""
    scanner = "postgres_scanner" if request.param == "postgres" else "sqlite_scanner"
    for wheel in ("duckdb_extension_ducklake", f"duckdb_extension_{scanner}"):
        if importlib.util.find_spec(wheel) is None:
            pytest.skip(f"the wheel {wheel} is not installed (extra ducklake)")
    catalog = ""
    if request.param == "postgres":
        server: postgres.Postgres = request.getfixturevalue("postgres_server")
        catalog = server.database()
    return StoreSettings(backend=Backend.DUCKLAKE, catalog=catalog, threads=2)


NO_LINKS: Final = pl.DataFrame(schema={"home": pl.Int64, "slice": pl.Int64})
