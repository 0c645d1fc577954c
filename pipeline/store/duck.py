"""The store on DuckDB: one class for the file and for DuckLake; ``connection`` knows the rest."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from pipeline.errors import StoreBusy
from pipeline.model.messages import Offsets, Partition, Positions
from pipeline.model.runs import Run
from pipeline.store import metric_minutes, offsets, reader, retention, units as analysis
from pipeline.store.attach import LAKE_DATA_NAME
from pipeline.store.compaction import Upkeep
from pipeline.store.connection import connect
from pipeline.store.lease import Lease
from pipeline.store.port import Rewritten, Unit
from pipeline.store.rewrite import rewrite
from pipeline.store.schema import check, migrate
from pipeline.store.settings import Backend, StoreSettings
from pipeline.store.writer import Writer, read_positions

log = logging.getLogger(__name__)


class DuckStore:
    """Implements ``Store``; the promises are written there."""

    def __init__(
        self,
        directory: Path,
        settings: StoreSettings,
        *,
        prefer: Backend = Backend.FILE,
        read_only: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._clock = clock
        self._database = connect(directory, settings, prefer=prefer, read_only=read_only)
        try:
            (check if read_only else migrate)(self._database)
        except BaseException:
            self._database.close()
            raise
        self.settings = settings.model_copy(update={"backend": self._database.backend})
        self._writer = Writer(self._database)
        # the clock of a test stands still; a lease ends all the same
        self._lease = Lease(self._database, time.time_ns)
        lake = self._database.backend is Backend.DUCKLAKE
        self._upkeep = (
            Upkeep(self._database, directory / LAKE_DATA_NAME, self.settings) if lake else None
        )

    def close(self) -> None:
        """Give the lease back, checkpoint and let go. Idempotent."""
        try:
            self._lease.give()
        except StoreBusy as problem:
            log.warning("the lease of the analysis ends by itself: %s", problem)
        self._database.close()

    def lead(self) -> int | None:
        """Take or keep the lease of the one analysis; its term, or None where another has it."""
        return self._lease.take()

    @property
    def leads(self) -> bool:
        """True while this process holds the lease, as far as it knows."""
        return self._lease.held

    def positions(self) -> dict[Partition, int]:
        """For each partition the offset of the first message that is not in the store."""
        with self._database.session() as session:
            return read_positions(session)

    def write(
        self,
        batches: Mapping[str, pa.Table],
        *,
        expected: Positions,
        positions: Positions,
        consumed: Offsets | None = None,
    ) -> int | None:
        """Commit one slice and return its number, or None when there was no raw row to write."""
        return self._writer.write(
            batches,
            expected=expected,
            positions=positions,
            consumed=consumed,
            written_at=self._clock(),
        )

    def runs(self, wanted: Sequence[Run]) -> list[Run]:
        """The recorded runs that meet some of ``wanted``, and all others of their slices."""
        return offsets.runs(self._database, wanted)

    def rewrite(self, runs: Sequence[Run], batches: Mapping[str, pa.Table]) -> Rewritten:
        """Put what messages are decoded to in the place of what they were decoded to before."""
        return rewrite(self._database, runs, batches, written_at=self._clock())

    def homes_moved(self) -> int:
        """How often a rewrite moved homes."""
        return analysis.homes_moved(self._database)

    def unnoticed(self) -> list[int]:
        """Slices written but not yet looked at by the analysis, oldest first."""
        return analysis.unnoticed(self._database)

    def noticed(self) -> list[int]:
        """Slices the analysis has looked at, oldest first."""
        return analysis.noticed(self._database)

    def notice(
        self,
        slices: Sequence[int],
        links: pl.DataFrame,
        *,
        minutes: pl.DataFrame | None = None,
        homes_moved: int | None = None,
    ) -> None:
        """Mark slices as looked at, and dirty them and every home they add rows to."""
        analysis.notice(self._lease, slices, links, minutes=minutes, homes_moved=homes_moved)

    def dirty(self) -> pl.DataFrame:
        """Units to recompute: columns low, high, cause, rows."""
        return analysis.dirty(self._database)

    def linked(self, units: Sequence[Unit]) -> list[int]:
        """Slices needed to recompute units, ascending."""
        return analysis.linked(self._database, units)

    def replace(
        self, units: Sequence[Unit], derived: Mapping[str, pa.Table], *, cause: int
    ) -> None:
        """Swap the derived rows of units and clear their dirty marks up to ``cause``."""
        analysis.replace(self._lease, units, derived, cause=cause)

    def stale_minutes(self) -> pl.DataFrame:
        """Minutes of which metrics tell otherwise now: columns minute, cause."""
        return metric_minutes.stale(self._database)

    def replace_minutes(
        self,
        minutes: Sequence[int],
        derived: Mapping[str, pa.Table],
        *,
        marked: Sequence[int],
        cause: int,
        final: int,
    ) -> None:
        """Swap what was derived from metrics of minutes, and clear marks up to ``cause``."""
        metric_minutes.replace(
            self._lease, minutes, derived, marked=marked, cause=cause, final=final
        )

    def quiet_units(self, *, before: int | None = None) -> list[Unit]:
        """Clean units that lie wholly below slice ``before`` (None: anywhere), ascending."""
        return analysis.quiet_units(self._database, before=before)

    def merge(self, unit: Unit) -> None:
        """Sum the derived rows of all units inside ``unit`` into one."""
        analysis.merge(self._lease, unit)

    def retire(self, *, now: int) -> dict[str, int]:
        """Delete what is past its age at ``now``; how many rows, by table."""
        return retention.retire(self._lease, self.settings, now=now)

    def compact(self, *, now: int) -> dict[str, int]:
        """Merge small files and delete those nobody needs; how many were merged, by table."""
        return self._upkeep.compact(now=now) if self._upkeep else {}

    def ask(self, question: str, /, **parameters: object) -> pl.DataFrame:
        """Answer a named question: the file ``queries/<question>.sql``, with its parameters."""
        limit = self.settings.time_limit_seconds
        return reader.ask(self._database, question, parameters, time_limit=limit)
