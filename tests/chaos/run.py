"""One run: broker, collector, workers and senders, a storm over them, and the verdict."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from api.demo.broker import Broker
from pipeline.store import StoreSettings
from tests.chaos.fleet import Fleet
from tests.chaos.senders import SPANS, Sender, numbered
from tests.chaos.storm import Target, rage
from tests.chaos.verdict import Verdict, examine, wait_until_stored

SENDERS = 3
WEIGHTS = {"broker": 1.0, "collector": 3.0, "worker": 3.0}
START_SECONDS = 120.0
CATCH_UP_SECONDS = 180.0


@dataclass(frozen=True)
class Outcome:
    """What a run brought.

    Attributes:
        verdict: the comparison of the books.
        faults: what was done how often.
        refused: requests that were refused, or had no answer.
        catch_up_seconds: from the last fault undone until all that was acknowledged was counted.
    """

    verdict: Verdict
    faults: dict[str, int]
    refused: int
    catch_up_seconds: float


def run(
    events: int,
    *,
    seed: int,
    workers: int = 2,
    catalog: str = "",
    tell: Callable[[str], None] = print,
) -> Outcome:
    """Let it storm.

    Args:
        events: how many faults.
        seed: of the random numbers.
        workers: how many share the partitions and the store.
        catalog: of the lake that they share; empty for SQLite in the data directory.
        tell: takes a line for each thing that happens.

    Raises:
        AssertionError: something did not start, or did not catch up.
    """
    store = StoreSettings(catalog=catalog)
    with tempfile.TemporaryDirectory(prefix="meshweir-chaos-") as name:
        directory = Path(name)
        with Broker(directory / "kafka") as broker:
            fleet = Fleet.on(broker.bootstrap, directory, workers=workers, catalog=catalog)
            try:
                fleet.start()
                return _storm(broker, fleet, store, events, seed, tell)
            except AssertionError:
                for member in fleet.members:
                    tell(f"--- {member.name}: {member.last_words()}")
                raise
            finally:
                for member in fleet.members:
                    member.kill()


def _storm(
    broker: Broker,
    fleet: Fleet,
    store: StoreSettings,
    events: int,
    seed: int,
    tell: Callable[[str], None],
) -> Outcome:
    wait_for_yes(fleet)
    senders = [Sender(fleet.post, (lane + 1) << 32) for lane in range(SENDERS)]
    for sender in senders:
        sender.start()
    targets: dict[str, Target] = {"broker": broker}
    targets |= {member.name: member for member in fleet.members}
    weights = [WEIGHTS[name.partition("-")[0]] for name in targets]
    faults = rage(targets, weights, events=events, seed=seed, tell=tell)
    for sender in senders:
        sender.stop()
    acknowledged = [number for sender in senders for number in sender.acknowledged]
    refused = sum(sender.refused for sender in senders)
    tell(f"{len(acknowledged)} requests acknowledged, {refused} not; catching up")
    seconds = wait_until_stored(
        fleet.data, store, len(acknowledged) * SPANS, seconds=CATCH_UP_SECONDS
    )
    time.sleep(2)  # what was stored without having been acknowledged
    fleet.stop()
    return Outcome(examine(fleet.data, store, acknowledged), dict(faults), refused, seconds)


def wait_for_yes(fleet: Fleet) -> None:
    """Until the collector takes spans and the workers have made the store."""
    end = time.monotonic() + START_SECONDS
    number = 0
    while fleet.post(numbered(number)) != 200 or not fleet.data.exists():
        number += 1
        assert time.monotonic() < end, "the fleet did not start"
        assert all(member.ended is None for member in fleet.members), "a process ended"
        time.sleep(0.3)
