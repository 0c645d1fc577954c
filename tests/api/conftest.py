"""A real store with a small mesh in it, and the application in front of it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.cache import AnswerCache
from api.context import Context
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.store import open_store
from tests.api.mesh_rows import START, calls, tables

NOW = START + timedelta(minutes=30)


def fill(store, rows):
    """Put rows into a store and analyse them."""
    positions = store.positions()
    store.write(tables(rows), expected=positions, positions=positions)
    asyncio.run(MinutesJob(store).settle())


@pytest.fixture(scope="session")
def mesh_directory(tmp_path_factory):
    """A data directory: 90 requests frontend -> cart, 9 failing; 30 of cart -> stock."""
    directory = tmp_path_factory.mktemp("mesh")
    store = open_store(directory)
    fill(
        store,
        calls(90, client="frontend", server="cart", failing=9)
        + calls(30, client="cart", server="stock", first_trace=1000),
    )
    store.close()
    return directory


@pytest.fixture(scope="session")
def mesh(mesh_directory):
    store = open_store(mesh_directory)
    yield store
    store.close()


@pytest.fixture(scope="session")
def ledger():
    made = Ledger()
    flow = Flow("otlp_http", "spans")
    made.count(flow, Outcome.RECEIVED, 365)
    made.count(flow, Outcome.ACCEPTED, 360)
    made.count(flow, Outcome.REJECTED, 5, reason='says "no"\nand \\ more')
    made.count(flow, Outcome.STORED, 360)
    made.count_bytes(flow, 100_000)
    made.advance(flow, watermark_ns=1_795_428_000_500_000_000, received_at_ns=None)
    return made


def context_for(store, ledger, **changes):
    """What handlers work with, at a fixed time."""
    parts = {
        "store": store,
        "ledger": ledger,
        "bus": None,
        "clock": lambda: NOW,
        "unready": lambda: None,
        "cache": AnswerCache(1_000_000),
        "slots": asyncio.Semaphore(4),
        "version": "0.1.0",
        "started": datetime(2026, 11, 23, 9, tzinfo=UTC),
    }
    return Context(**(parts | changes))


@pytest.fixture(scope="session")
def app(mesh, ledger):
    return create_app(context_for(mesh, ledger))


@pytest.fixture(scope="session")
def http(app):
    """A client of the application; a server error is an answer, not an exception."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
