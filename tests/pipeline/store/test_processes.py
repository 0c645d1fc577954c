"""Real processes on one DuckLake: they race, are killed, and are stopped in mid-transaction."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.model.messages import Partition
from pipeline.store import Store, StoreSettings, open_store
from tests.pipeline.store.lakes import LAKES, NO_LINKS, lake_settings
from tests.pipeline.store.rows import resources, spans

P = Partition("otlp_spans")
OPENING = """
import itertools, random, sys, time
from pathlib import Path
from pipeline.errors import StoreBusy
from pipeline.model.messages import Partition
from pipeline.store import Backend, StoreSettings, open_store, units, writer
from tests.pipeline.store.lakes import NO_LINKS
from tests.pipeline.store.rows import quarantined, resources, spans
directory, catalog, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
settings = StoreSettings(backend=Backend.DUCKLAKE, catalog=catalog, threads=1)
store = open_store(directory, settings)
part = Partition("otlp_spans", number)

def pausing(function):
    def paused(*arguments, **named):
        done = function(*arguments, **named)
        print("under way", flush=True)
        time.sleep(1)
        return done
    return paused
"""
WRITING = """
while True:
    stands = store.positions().get(part, 0)
    rows = {"spans": spans([stands]), "resources": resources("resource-a-")}
    if stands % 3 == 2:
        rows = {"quarantine": quarantined(stands)}
    try:
        store.write(rows, expected={part: stands}, positions={part: stands + 1})
        print("wrote", stands, flush=True)
        time.sleep(random.uniform(0, 0.1))  # or the other is never first
    except StoreBusy as problem:
        print("refused", problem, flush=True)
"""
STALLING = """
writer._insert_slice = pausing(writer._insert_slice)
try:
    store.write({"spans": spans([7])}, expected={}, positions={part: 1})
    print("wrote", flush=True)
except StoreBusy as problem:
    print("refused", problem, flush=True)
"""
LEADING = """
store.lead()
units._notice = pausing(units._notice)
try:
    store.notice(store.unnoticed(), NO_LINKS)
    print("noticed", flush=True)
except StoreBusy as problem:
    print("refused", problem, flush=True)
"""


@pytest.fixture(params=LAKES)
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    return lake_settings(request)


@pytest.fixture
def store(tmp_path: Path, settings: StoreSettings) -> Iterator[Store]:
    opened = open_store(tmp_path, settings)
    yield opened
    opened.close()


@contextmanager
def process(
    code: str, directory: Path, settings: StoreSettings, number: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """A process that has opened the store; killed in the end."""
    command = [sys.executable, "-c", OPENING + code, str(directory), settings.catalog, str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as child:
        try:
            yield child
        finally:
            child.kill()


def lines(child: subprocess.Popen[str], wanted: str, count: int = 1) -> list[str]:
    """Read on until ``count`` lines begin with a word; returns those."""
    assert child.stdout is not None
    found: list[str] = []
    while len(found) < count:
        line = child.stdout.readline()
        assert line, "the process ended"
        found += [line] if line.startswith(wanted) else []
    return found


def written(store: Store, *parts: Partition) -> None:
    """Nothing is lost and nothing is double: what is stored is what the positions say."""
    stands = store.positions()
    kept = [offset for part in parts for offset in range(stands[part]) if offset % 3 != 2]
    slices = list(range(1, len(kept) + 2))
    keys = store.ask("trace_keys", slices=slices)
    assert sorted(keys["trace_id_low"]) == sorted(kept)
    assert keys["slice"].n_unique() == len(kept)
    quarantined = sum(stands[part] for part in parts) - len(kept)
    assert store.ask("quarantine", limit=1_000).height == quarantined
    assert store.ask("resources").height == 1


def test_two_processes_race_from_one_position_and_one_is_killed(
    store: Store, tmp_path: Path, settings: StoreSettings
) -> None:
    with (
        process(WRITING, tmp_path, settings) as one,
        process(WRITING, tmp_path, settings) as two,
    ):
        wrote = lines(one, "wrote", 4) + lines(two, "wrote", 4)
        one.send_signal(signal.SIGKILL)
        assert one.stdout is not None
        wrote += [line for line in one.stdout.read().splitlines() if line.startswith("wrote")]
        wrote += lines(two, "wrote", 4)
    offsets = [int(line.split()[1]) for line in wrote]
    assert len(set(offsets)) == len(offsets)
    written(store, P)


def test_two_processes_write_their_partitions_and_the_other_takes_over(
    store: Store, tmp_path: Path, settings: StoreSettings
) -> None:
    with (
        process(WRITING, tmp_path, settings, 0) as one,
        process(WRITING, tmp_path, settings, 1) as two,
    ):
        lines(one, "wrote", 4)
        lines(two, "wrote", 4)
        one.send_signal(signal.SIGKILL)
        with process(WRITING, tmp_path, settings, 0) as heir:
            lines(heir, "wrote", 3)
            lines(two, "wrote", 3)
    written(store, P, Partition("otlp_spans", 1))


def test_a_writer_stopped_in_its_transaction_writes_nothing_when_it_comes_back(
    store: Store, tmp_path: Path, settings: StoreSettings
) -> None:
    with process(STALLING, tmp_path, settings) as stalled:
        lines(stalled, "under way")
        stalled.send_signal(signal.SIGSTOP)
        rows = {"spans": spans([1]), "resources": resources("resource-a-")}
        for offset in range(3):
            store.write(rows, expected={P: offset}, positions={P: offset + 1})
        stalled.send_signal(signal.SIGCONT)
        (refused,) = lines(stalled, "refused")
        assert "stands at offset 3" in refused
    assert store.positions() == {P: 3}
    keys = store.ask("trace_keys", slices=list(range(1, 10)))
    assert keys["trace_id_low"].to_list() == [1, 1, 1]


def test_an_analyser_stopped_in_its_transaction_is_taken_over_from(
    store: Store, tmp_path: Path, settings: StoreSettings
) -> None:
    store.write({"spans": spans([1])}, expected={}, positions={P: 1})
    with process(LEADING, tmp_path, settings) as stalled:
        lines(stalled, "under way")
        stalled.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert store.lead() is None
        while store.lead() is None:
            assert time.monotonic() - began < 60
            time.sleep(0.2)
        store.notice([1], NO_LINKS)
        state = store.ask("state").row(0)
        stalled.send_signal(signal.SIGCONT)
        (refused,) = lines(stalled, "refused")
        assert "in other hands" in refused
        assert store.ask("state").row(0) == state
    assert store.lead() is not None
