"""The stores that contracts are held against."""

import importlib.util

import pytest

from pipeline.store import Backend


def must_be_installed(backend: Backend) -> None:
    """Skip the test when a part that the backend needs is not installed."""
    if backend is not Backend.FILE:
        for wheel in ("duckdb_extension_ducklake", "duckdb_extension_sqlite_scanner"):
            if importlib.util.find_spec(wheel) is None:
                pytest.skip(f"the wheel {wheel} is not installed")
