"""Derives what metrics say of minutes whose points changed."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from pipeline.analyze import counters, metric_minutes, paths
from pipeline.store.port import Store

log = logging.getLogger(__name__)

MARKS_AT_ONCE: Final = 30
"""Stale minutes taken up in one go, the youngest first; the rest waits for the next."""

MINUTES_TOGETHER: Final = 10
"""Minutes derived from one reading of points, at most."""

POINTS_TOGETHER: Final = 1_000_000
"""Points in memory at once: producers are read in parts of about so many."""

SHARE: Final = 0.1
"""Share of a processor that deriving may cost: after it the job rests nine times as long."""

LOOK_SECONDS: Final = 1.0
"""Pause between looks at what is stale."""


class MetricMinutesJob:
    """Keeps what is derived from metrics equal to what the points say, where this process analyses.

    A job of its own, so that spans never wait for counters: see ``analyze.counters`` for what is
    derived, and ``MinutesJob`` for who notices what is stale.
    """

    name = "metric_minutes"
    cadence = LOOK_SECONDS

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._rests_until = clock()

    async def run(self) -> bool:
        """Derive what is stale, unless it is to rest; more is never due at once."""
        began = self._clock()
        if self._store.leads and began >= self._rests_until:
            await asyncio.to_thread(self.derive_stale)
            ended = self._clock()
            self._rests_until = ended + (ended - began) * (1 / SHARE - 1)
        return False

    def stale_in(self, slices: Sequence[int]) -> pl.DataFrame:
        """Minutes that points of new slices make stale, as ``Store.notice`` takes them."""
        return self._store.ask("metric_slices", slices=list(slices), names=metric_minutes.NAMES)

    def derive_stale(self) -> bool:
        """Derive anew what is stale, the youngest first; returns whether anything was."""
        marks = self._store.stale_minutes().tail(MARKS_AT_ONCE)
        if marks.is_empty():
            return False
        minutes = marks["minute"]
        self._derive(minutes, marked=minutes.to_list(), cause=max(marks["cause"].to_list()))
        return True

    def derive_all(self) -> None:
        """Derive every minute anew that is not final."""
        self._derive(self._store.ask("metric_extent", names=metric_minutes.NAMES)["minute"])

    def _derive(self, minutes: pl.Series, *, marked: Sequence[int] = (), cause: int = 0) -> None:
        final = self._store.ask("final_minutes")["minute"]
        touched = counters.touched(minutes)
        wanted = touched.filter(~touched.is_in(counters.touched(final).implode())).to_list()
        late = len(set(marked) - set(wanted))
        if late:
            log.warning(
                "points came of %d minutes of which retention took others before: they are stored,"
                " and the graph of these minutes stays as it was",
                late,
            )
        stretches = _stretches(wanted) or [[]]
        for stretch in stretches:
            # marks go with the last of them: whoever is stopped before begins anew
            cleared = marked if stretch is stretches[-1] else ()
            derived = metric_minutes.derive(self._told(stretch), minutes=stretch) if stretch else {}
            self._store.replace_minutes(
                stretch, derived, marked=cleared, cause=cause, final=len(final)
            )

    def _told(self, stretch: list[int]) -> pl.DataFrame:
        start, end = counters.needed(stretch[0], stretch[-1])
        asked = {"names": metric_minutes.NAMES, "start": start, "end": end}
        ((points,),) = self._store.ask("metric_count", **asked).rows()
        resources = self._store.ask("resources")
        labels = metric_minutes.PATHS
        parts: list[list[str] | None] = [None]
        if points > POINTS_TOGETHER:
            tellers = self._store.ask("metric_tellers", labels=labels, **asked)
            parts = [*paths.parts(tellers, resources, most=POINTS_TOGETHER)]
        return pl.concat(
            metric_minutes.told(
                self._store.ask("metric_series", labels=labels, resources=part, **asked), resources
            )
            for part in parts
        )


def _stretches(minutes: list[int]) -> list[list[int]]:
    """Runs of minutes that are read together: near each other, and not too many."""
    runs: list[list[int]] = []
    for minute in minutes:
        if not runs or minute - runs[-1][0] >= MINUTES_TOGETHER * counters.MINUTE_NS:
            runs.append([])
        runs[-1].append(minute)
    return runs
