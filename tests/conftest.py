"""Fixtures and flags that all tests share."""

from collections.abc import Iterator

import pytest

from tests import postgres
from tests.golden import Golden


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that rewrites golden files."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files with what was found"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares with golden files, or rewrites them."""
    return Golden(update=bool(request.config.getoption("--update-golden")))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    """A real PostgreSQL that all tests share, each with a database of its own."""
    missing = postgres.missing()
    if missing:
        pytest.skip(missing)
    with postgres.running() as server:
        yield server
