"""``kill -9`` at random moments: what was acknowledged is there once, nothing is there twice."""

import os
import random
import threading
import time
import urllib.error

import pytest

from pipeline.store import open_store
from tests.chaos.senders import SPANS, numbered
from tests.e2e.up import Up

KILLS = int(os.environ.get("MESHWEIR_TEST_KILLS", "8"))
"""Fifty in the long form, by ``make chaos``."""


class Sender(threading.Thread):
    """Sends requests with ids of their own until told to stop; keeps what was acknowledged."""

    def __init__(self, up: Up, first: int) -> None:
        super().__init__(daemon=True)
        self.up, self.number, self.done = up, first, False
        self.acknowledged: list[int] = []

    def run(self) -> None:
        """Send until told to stop."""
        while not self.done:
            self.number += 1
            try:
                status = self.up.post(numbered(self.number))
            except (OSError, urllib.error.URLError):
                continue  # nobody said yes: it may be there or not
            if status == 200:
                self.acknowledged.append(self.number)


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_kills_lose_nothing_and_double_nothing(tmp_path):
    rng = random.Random(4)
    acknowledged: list[int] = []
    number = 1
    for _ in range(KILLS):
        up = Up(tmp_path)
        senders = [Sender(up, number + lane * 50_000) for lane in range(2)]
        for sender in senders:
            sender.start()
        time.sleep(rng.uniform(0.05, 1.2))
        up.kill()
        for sender in senders:
            sender.done = True
            sender.join()
            acknowledged += sender.acknowledged
        number += 100_000
    up = Up(tmp_path)
    wanted = len(acknowledged) * SPANS

    def counted():
        count = sum(up.edges("?start=-1h").values())
        return count if count >= wanted else 0

    assert up.wait(counted, 120), "the graph does not count what was acknowledged"
    time.sleep(2)
    on_graph = sum(up.edges("?start=-1h").values())
    assert up.stop() == 130

    store = open_store(tmp_path)
    try:
        slices = [*store.noticed(), *store.unnoticed()]
        stored = store.ask("pair_spans", slices=slices)
    finally:
        store.close()
    once = stored.group_by("trace_id_high", "trace_id_low", "span_id").len()
    assert once["len"].max() == 1
    per_request = once.group_by("trace_id_high").len()
    assert per_request["len"].unique().to_list() == [SPANS]
    missing = set(acknowledged) - set(per_request["trace_id_high"])
    assert not missing
    assert on_graph == stored.height
    assert len(acknowledged) > KILLS
