"""Recomputes what new rows made stale, and merges what has come to rest."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import polars as pl

from pipeline.analyze.minutes import derive
from pipeline.analyze.openapi import Paths
from pipeline.errors import StoreBusy
from pipeline.jobs.metric_minutes import MetricMinutesJob
from pipeline.jobs.places import Places
from pipeline.store.port import Store, Unit

SHARE: Final = 0.1
"""Share of a processor that one unit may cost: recomputed at most this part of the time."""

LARGEST_PAUSE: Final = 1.0
"""Seconds that a young unit waits at most before it is recomputed again."""

YOUNG_ROWS: Final = 400_000
"""Units of up to this many rows are young: they are what a reader waits for."""

REST: Final = 30.0
"""Seconds without new rows after which units are merged."""

FORGET_SECONDS: Final = 30.0
"""Seconds between looks at which slices retention has taken."""

FAN_IN: Final = 8
"""Units merged into one; a merged unit is of the next size."""

LARGEST_UNIT: Final = 512
"""Slices in a unit that is merged no further."""


@dataclass(slots=True)
class _Cost:
    """When a unit was last recomputed, and what it cost, in seconds."""

    at: float = 0.0
    seconds: float = 0.0

    def due(self, now: float, *, young: bool) -> bool:
        pause = self.seconds / SHARE
        return now - self.at >= (min(pause, LARGEST_PAUSE) if young else pause)


class MinutesJob:
    """Keeps the derived tables equal to what the raw rows say, while it holds the store's lease.

    Args:
        store: the store.
        documents: OpenAPI documents by node id, or by the name of a service.
    """

    name = "minutes"
    cadence = 0.2

    def __init__(self, store: Store, documents: Mapping[str, Paths] = MappingProxyType({})) -> None:
        self._store = store
        self._documents = documents
        self._term: int | None = None
        self._places: Places | None = None
        self._homes_moved = 0
        self._costs: dict[int, _Cost] = {}
        self._arrivals: list[tuple[float, int]] = []
        self._forgot_at = 0.0
        self._metrics = MetricMinutesJob(store)

    async def run(self) -> bool:
        """Notice new slices, recompute what is due, merge what rests."""
        return await asyncio.to_thread(self._run)

    async def settle(self) -> None:
        """Recompute until nothing is dirty; never ends while others go on writing."""
        while await self.catch_up():
            pass

    async def catch_up(self) -> bool:
        """Notice new slices and recompute everything that is dirty now, without waiting."""
        return await asyncio.to_thread(self._run, hurry=True)

    def recompute_all(self) -> int:
        """Recompute every unit from raw rows, dirty or not; returns how many rows were read.

        What a new version of the analysis needs once, and what proves that nothing drifted.

        Raises:
            StoreBusy: another process analyses.
        """
        if not self._leads():
            raise StoreBusy("another process analyses this store; stop it, or leave it to that one")
        self._notice()
        units = self._store.quiet_units()
        groups = [
            [(unit, unit.high) for unit in units[start : start + UNITS_TOGETHER]]
            for start in range(0, len(units), UNITS_TOGETHER)
        ]
        with ThreadPoolExecutor(RECOMPUTING) as pool:
            rows = sum(pool.map(self._recompute_together, groups))
        self._metrics.derive_all()
        return rows

    def _leads(self) -> bool:
        """Take or keep the lease; what was learnt under another one is forgotten."""
        term = self._store.lead()
        if term != self._term:
            self._term, self._places = term, None
            self._costs.clear()
            self._arrivals.clear()
        return term is not None

    def _run(self, *, hurry: bool = False) -> bool:
        if not self._leads():
            return False
        noticed = self._notice()
        recomputed = self._recompute(hurry=hurry)
        derived = hurry and self._metrics.derive_stale()
        if not recomputed:
            self._merge()
        return noticed or recomputed or derived

    def _notice(self) -> bool:
        moved = self._store.homes_moved()
        if self._places is None or moved != self._homes_moved:
            # a rewrite left everything from the lowest slice it touched on unnoticed, and homes
            # are placed in the order of slices: the index begins anew with those below
            self._places, self._homes_moved = Places(self._store), moved
        slices = self._store.unnoticed()
        if not slices:
            return False
        self._forget(self._places)
        self._arrivals.append((time.monotonic(), slices[-1]))
        links = self._places.place(slices)
        minutes = self._metrics.stale_in(slices)
        try:
            self._store.notice(slices, links, minutes=minutes, homes_moved=moved)
        except Exception:
            # what was placed is told once only; it must be found and told again
            self._places = None
            raise
        return True

    def _forget(self, places: Places) -> None:
        """Learn now and then which slices retention has taken."""
        if time.monotonic() - self._forgot_at >= FORGET_SECONDS:
            self._forgot_at = time.monotonic()
            places.forget(min(self._store.noticed(), default=0))

    def _recompute(self, *, hurry: bool) -> bool:
        dirty = self._store.dirty()
        due = [
            (Unit(low, high), cause)
            for low, high, cause, _ in (dirty if hurry else self._due(dirty)).iter_rows()
        ]
        rows = dict(zip(dirty["low"], dirty["rows"], strict=True))
        for group in _together(due, rows):
            self._recompute_together(group)
        return bool(due)

    def _due(self, dirty: pl.DataFrame) -> pl.DataFrame:
        """What has waited long enough; young units go together, because they share traces."""
        now = time.monotonic()
        young = pl.col("rows") <= YOUNG_ROWS
        waited = [
            self._costs.setdefault(low, _Cost()).due(now, young=rows <= YOUNG_ROWS)
            for low, rows in dirty.select("low", "rows").iter_rows()
        ]
        due = dirty.with_columns(pl.Series("due", waited, pl.Boolean))
        return due.filter(pl.col("due") | (young & (young & pl.col("due")).any())).drop("due")

    def _recompute_together(self, group: list[tuple[Unit, int]]) -> int:
        began = time.monotonic()
        units = [unit for unit, _ in group]
        assert self._places is not None  # noqa: S101 - made by _notice
        spans, logs = self._places.rows_of(units)
        resources = self._store.ask("resources")
        derived = derive(spans, logs, resources, units=units, documents=self._documents)
        self._store.replace(units, derived, cause=max(cause for _, cause in group))
        ended = time.monotonic()
        for unit in units:
            self._costs[unit.low] = _Cost(ended, (ended - began) / len(units))
        return spans.height + logs.height

    def _merge(self) -> None:
        rested = time.monotonic() - REST
        settled = [number for at, number in self._arrivals if at < rested]
        if self._arrivals and not settled:
            return
        self._arrivals = [(at, number) for at, number in self._arrivals if at >= rested]
        before = (settled[-1] + 1) if settled else None
        for unit in _mergeable(self._store.quiet_units(before=before)):
            self._store.merge(unit)
            self._costs.pop(unit.low, None)


RECOMPUTING: Final = 2
"""Groups of units recomputed at once when everything is; their memory adds up."""

UNITS_TOGETHER: Final = 8
"""Units read at once when everything is recomputed."""

ROWS_TOGETHER: Final = 1_000_000
"""Rows recomputed in one go; bounds the memory of a recomputation."""


def _together(due: list[tuple[Unit, int]], rows: Mapping[int, int]) -> list[list[tuple[Unit, int]]]:
    """Group neighbouring units, so that slices they share are read once."""
    groups: list[list[tuple[Unit, int]]] = []
    held = 0
    for unit, cause in due:
        size = rows[unit.low]
        if not groups or held + size > ROWS_TOGETHER:
            groups.append([])
            held = 0
        groups[-1].append((unit, cause))
        held += size
    return groups


def _mergeable(units: list[Unit]) -> list[Unit]:
    """Runs of ``FAN_IN`` neighbouring units of about one size, as ranges to merge."""
    merged = []
    run: list[Unit] = []
    for unit in units:
        if run and (run[-1].high + 1 != unit.low or _rank(unit) != _rank(run[0])):
            run = []
        if _size(unit) < LARGEST_UNIT:
            run.append(unit)
        if len(run) == FAN_IN:
            merged.append(Unit(run[0].low, run[-1].high))
            run = []
    return merged


def _size(unit: Unit) -> int:
    return unit.high - unit.low + 1


def _rank(unit: Unit) -> int:
    """0 for 1 to 7 slices, 1 for 8 to 63, and so on."""
    rank, size = 0, _size(unit)
    while size >= FAN_IN:
        size //= FAN_IN
        rank += 1
    return rank
