"""The Store port: committed rows in, answers to named questions out.

The promises, which the contract suite holds every store to:

* ``write`` is one transaction: rows, bus positions, the new slice and the quarantine become visible
  together or not at all, and survive ``kill -9`` once it returned. It compares the positions it was
  told to expect inside that transaction, so that a writer that was overtaken writes nothing.
* ``notice`` and ``replace`` are one transaction each; derived rows are never seen half replaced.
* ``rewrite`` is one transaction too, and ends where writing the new rows at first would have ended.
* Readers see a committed state and never wait for a writer.
* Several processes may ``write``; of two writes from one position one succeeds. One process at a
  time analyses: ``notice``, ``replace``, ``merge``, ``retire`` and ``compact`` commit only while it
  holds the lease that ``lead`` takes, and fail with StoreBusy once another has had it.

A *slice* is what one ``write`` committed, numbered upwards. The *home* of a trace is the lowest
slice that holds a row of it; a trace and a request of which one row carries both ids are one, with
one home. A *unit* is a range of slices whose homes were analysed together: derived rows carry its
lowest slice.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import polars as pl
import pyarrow as pa

from pipeline.model.messages import Offsets, Partition, Positions
from pipeline.model.runs import Run


class Unit(NamedTuple):
    """A range of slices, both ends included."""

    low: int
    high: int


class Rewritten(NamedTuple):
    """What a rewrite did; counts of rows are of raw rows, the others of records.

    Attributes:
        slice: the slice that holds the rows now; None when there was none to write.
        rows_before: rows that were taken out.
        rows: rows that were put in.
        quarantined_before: records of these messages that were set aside before.
        quarantined: records of these messages that are set aside now.
    """

    slice: int | None
    rows_before: int
    rows: int
    quarantined_before: int
    quarantined: int


class Store(Protocol):
    """Where everything is kept. Methods block; callers run them in threads of their own."""

    def close(self) -> None:
        """Checkpoint and let go. Idempotent."""

    def positions(self) -> dict[Partition, int]:
        """For each partition the offset of the first message that is not in the store."""

    def write(
        self,
        batches: Mapping[str, pa.Table],
        *,
        expected: Positions,
        positions: Positions,
        consumed: Offsets | None = None,
    ) -> int | None:
        """Commit one slice and return its number, or None when there was no raw row to write.

        ``batches`` maps table names (raw, interned, ``quarantine``) to rows without ``slice``.
        Interned rows that are already stored are left alone. ``positions`` are stored even when
        there are no rows. ``consumed`` says which messages the rows were made from, for a later
        ``rewrite``; without it, those by which the positions moved.

        Raises:
            StoreBusy: the stored positions are not ``expected``, or another writer was faster;
                nothing was written.
        """

    def runs(self, wanted: Sequence[Run]) -> list[Run]:
        """The recorded runs that meet some of ``wanted``, and all others of their slices.

        Ascending by partition; ``pipeline.model.runs.divided`` says what they mean for a run.
        """

    def rewrite(self, runs: Sequence[Run], batches: Mapping[str, pa.Table]) -> Rewritten:
        """Put what messages are decoded to in the place of what they were decoded to before.

        ``runs`` are all runs of one slice: its raw rows are replaced under its number. Or they are
        of no slice (``slice`` None or NEVER), or of messages that are in quarantine as a whole:
        then the rows become a new slice. What is set aside of these messages is replaced by the
        rows of ``quarantine`` in ``batches``. Positions do not move. One transaction; what it
        makes stale is dirty or unnoticed afterwards.

        Raises:
            InvalidInput: retention took the slice, and what it summed to is final.
            StoreBusy: another writer was faster, or the runs are no longer as ``runs`` told;
                nothing was written.
        """

    def homes_moved(self) -> int:
        """How often a rewrite moved homes: an index of them that is older must be built anew."""

    def lead(self) -> int | None:
        """Take or keep the lease of the one analysis, which ends some seconds after the last call.

        Returns its term, or None while another process holds it. With another term than the last,
        another process may have analysed in between: forget what was read. Closing the store gives
        the lease back.
        """

    @property
    def leads(self) -> bool:
        """True while this process holds the lease, as far as it knows."""

    def unnoticed(self) -> list[int]:
        """Slices written but not yet looked at by the analysis, oldest first."""

    def notice(
        self,
        slices: Sequence[int],
        links: pl.DataFrame,
        *,
        minutes: pl.DataFrame | None = None,
        homes_moved: int | None = None,
    ) -> None:
        """Mark slices as looked at, and dirty them and every home they add rows to.

        ``links`` has columns ``home`` and ``slice`` (i64): slice ``slice``, one of ``slices`` or
        noticed before, may hold rows of traces whose home is ``home``; home < slice. ``minutes``
        are those that their metric points make stale: columns ``minute`` (i64, Unix nanoseconds of
        its start) and ``cause`` (the slice). ``homes_moved`` is what the method of that name told
        before the rows were looked at.

        Raises:
            StoreBusy: a rewrite moved homes since; nothing was noticed.
        """

    def dirty(self) -> pl.DataFrame:
        """Units to recompute: columns low, high, cause (highest slice that made it dirty), rows."""

    def noticed(self) -> list[int]:
        """Slices the analysis has looked at and whose raw rows are kept, oldest first.

        What an index of homes is rebuilt from.
        """

    def linked(self, units: Sequence[Unit]) -> list[int]:
        """Slices needed to recompute ``units``, ascending.

        Their own, those that add to their homes, and the earlier homes of traces they have rows of.
        """

    def replace(
        self, units: Sequence[Unit], derived: Mapping[str, pa.Table], *, cause: int
    ) -> None:
        """Swap the derived rows of units and clear their dirty marks up to ``cause``.

        ``derived`` maps names of derived tables to rows whose ``slice`` is the lowest of their
        unit. Units inside a given one become it.
        """

    def stale_minutes(self) -> pl.DataFrame:
        """Minutes of which metrics tell otherwise now than what was derived from them says.

        Columns ``minute`` (i64, Unix nanoseconds of its start, ascending) and ``cause`` (the
        highest number of a slice or rewrite that made it stale). What depends on points of a stale
        minute in other minutes is for the analysis to know.
        """

    def replace_minutes(
        self,
        minutes: Sequence[int],
        derived: Mapping[str, pa.Table],
        *,
        marked: Sequence[int],
        cause: int,
        final: int,
    ) -> None:
        """Swap what was derived from metrics of ``minutes``, in one transaction.

        ``derived`` maps names of derived tables to rows without a slice, of these minutes. Marks of
        the minutes ``marked`` up to ``cause`` are cleared. ``final`` is how many rows the question
        ``final_minutes`` answered before the points were read.

        Raises:
            StoreBusy: retention took points since; nothing was replaced.
        """

    def quiet_units(self, *, before: int | None = None) -> list[Unit]:
        """Clean units, ascending; only those that lie wholly below slice ``before``, if given."""

    def merge(self, unit: Unit) -> None:
        """Sum the derived rows of all units inside ``unit`` into one; nothing in it is dirty."""

    def retire(self, *, now: int) -> dict[str, int]:
        """Delete what is past its age at ``now`` (Unix nanoseconds); how many rows, by table.

        Raw rows leave by clean units, oldest first, and traces leave whole, so that what stays can
        still be recomputed exactly. Rows that come later to a trace that left are a new trace.
        """

    def compact(self, *, now: int) -> dict[str, int]:
        """Merge small files, and delete those that no question can need at ``now``.

        Does a bounded piece of the work; returns how many files were merged, by table. A store that
        keeps one file has nothing to do.
        """

    def ask(self, question: str, /, **parameters: object) -> pl.DataFrame:
        """Answer a named question: the file ``queries/<question>.sql``, with its parameters.

        Raises InvalidInput for an unknown question, and StoreBusy when it takes longer than the
        time limit of the store's settings.
        """
