"""Two workers share a lake: one dies, one sleeps past its session; counts stay exact."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.demo.broker import Broker, BrokerMissing
from pipeline.store import StoreSettings
from tests.chaos.fleet import Fleet
from tests.chaos.run import wait_for_yes
from tests.chaos.senders import SPANS, Sender
from tests.chaos.verdict import examine, wait_until_stored
from tests.pipeline.store.lakes import LAKES, lake_settings

TAKEOVER_SECONDS = 15.0
PAST_THE_SESSION = 11.0
"""Seconds; a session ends after 8."""

SOME_SECONDS = 3.0


@pytest.fixture(params=LAKES)
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    return lake_settings(request)


@pytest.fixture
def fleet(tmp_path: Path, settings: StoreSettings) -> Iterator[Fleet]:
    broker = Broker(tmp_path / "kafka")
    try:
        broker.start()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    made = Fleet.on(broker.bootstrap, tmp_path, workers=2, catalog=settings.catalog)
    try:
        made.start()
        wait_for_yes(made)
        yield made
    finally:
        for member in made.members:
            member.kill()
        broker.stop()


def sent(fleet: Fleet, lane: int, seconds: float) -> list[int]:
    """Send for a while; the numbers that were acknowledged."""
    sender = Sender(fleet.post, lane << 32)
    sender.start()
    time.sleep(seconds)
    sender.stop()
    return sender.acknowledged


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_another_worker_takes_over_and_a_sleeper_that_comes_back_changes_nothing(
    fleet: Fleet, settings: StoreSettings
) -> None:
    one, two = fleet.workers
    acknowledged = sent(fleet, 1, SOME_SECONDS)
    # whatever each of the two had, the other gets: its partitions and the lease of the analysis
    one.kill()
    acknowledged += sent(fleet, 2, SOME_SECONDS)
    took = wait_until_stored(
        fleet.data, settings, len(acknowledged) * SPANS, seconds=TAKEOVER_SECONDS
    )
    assert took + SOME_SECONDS <= TAKEOVER_SECONDS

    one.start()
    acknowledged += sent(fleet, 3, SOME_SECONDS)
    two.pause()
    acknowledged += sent(fleet, 4, PAST_THE_SESSION)
    two.resume()
    acknowledged += sent(fleet, 5, SOME_SECONDS)
    wait_until_stored(fleet.data, settings, len(acknowledged) * SPANS, seconds=60.0)
    fleet.stop()
    verdict = examine(fleet.data, settings, acknowledged)
    assert verdict.holds, verdict
