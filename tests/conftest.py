"""Fixtures and flags that all tests share."""

import os
from collections.abc import Iterator

import pytest

from api.demo.broker import Broker, BrokerMissing
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
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Bootstrap servers of a real Kafka, one for the whole run; take topic names of your own.

    ``KAFKA_BOOTSTRAP_SERVERS`` names another one. Skips where Kafka cannot be had.
    """
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield tuple(given.split(","))
        return
    # members of a group that are gone are missed after a second, not six
    quick = {"group.min.session.timeout.ms": "1000"}
    broker = Broker(tmp_path_factory.mktemp("kafka"), properties=quick)
    try:
        broker.start()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    yield (broker.bootstrap,)
    broker.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    """A real PostgreSQL that all tests share, each with a database of its own."""
    missing = postgres.missing()
    if missing:
        pytest.skip(missing)
    with postgres.running() as server:
        yield server
