"""A short storm over collector, workers and broker; ``make chaos`` is the long one."""

import pytest

from api.demo.broker import BrokerMissing, installed_jars
from tests.chaos.run import run

EVENTS = 8


@pytest.fixture(autouse=True)
def _kafka() -> None:
    try:
        installed_jars()
    except BrokerMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_random_kills_and_pauses_lose_nothing_and_double_nothing() -> None:
    outcome = run(EVENTS, seed=11)
    assert outcome.verdict.holds, outcome
    assert outcome.verdict.acknowledged > 0
    assert sum(outcome.faults.values()) == EVENTS
