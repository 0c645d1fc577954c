"""Minutes of which metrics tell: which are stale, which are final, and what replaces them.

What is derived from metrics depends on points alone, not on who was in a slice with whom: its rows
carry no slice, and are replaced by the minute. A minute whose points retention took, in part or
all, stays as it was derived.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.errors import InvalidInput, StoreBusy
from pipeline.model.tables import DERIVED, METRIC_POINTS, SLICE
from pipeline.store.connection import Database, Session
from pipeline.store.lease import Lease

_MINUTE: Final = "date_trunc('minute', time)::TIMESTAMP_NS"
_NUMBERS: Final = "(SELECT make_timestamp_ns(unnest($minutes::BIGINT[])))"
_OF_METRICS: Final = "slice IS NULL"


def stale(database: Database) -> pl.DataFrame:
    """See ``Store.stale_minutes``."""
    with database.session() as session:
        return session.frame(
            "SELECT epoch_ns(minute) AS minute, max(cause) AS cause"
            " FROM stale_minutes GROUP BY ALL ORDER BY 1"
        )


def replace(
    lease: Lease,
    minutes: Sequence[int],
    derived: Mapping[str, pa.Table],
    *,
    marked: Sequence[int],
    cause: int,
    final: int,
) -> None:
    """See ``Store.replace_minutes``."""
    unknown = sorted(derived.keys() - {table.name for table in DERIVED})
    if unknown:
        raise InvalidInput("derived", found=", ".join(unknown), allowed="derived tables")
    for name, rows in derived.items():
        sliced = rows.num_rows - rows.column(SLICE.name).null_count
        strays = set(pl.from_arrow(rows.select(["minute"]))["minute"].dt.epoch("ns")) - set(minutes)  # type: ignore[index]
        if sliced or strays:
            allowed = "rows without a slice, of the minutes that are replaced"
            raise InvalidInput(name, found=sorted(strays)[:3] or "rows of slices", allowed=allowed)

    def work(session: Session) -> None:
        ((known,),) = session.rows("SELECT count(*) FROM final_minutes")
        if known != final:
            raise StoreBusy("retention took metric points meanwhile; look again", retry_after=0.0)
        for name, rows in derived.items():
            session.run(
                f"DELETE FROM {name} WHERE {_OF_METRICS} AND minute IN {_NUMBERS}",  # noqa: S608
                {"minutes": list(minutes)},
            )
            if rows.num_rows:
                session.insert(name, rows)
        session.run(
            f"DELETE FROM stale_minutes WHERE cause <= $cause AND minute IN {_NUMBERS}",  # noqa: S608
            {"minutes": list(marked), "cause": cause},
        )

    lease.commit(work)


def mark(session: Session, minutes: pl.DataFrame) -> None:
    """Note minutes as stale: columns ``minute`` (Unix nanoseconds) and ``cause``."""
    if not minutes.is_empty():
        shown = minutes.select(pl.col("minute").cast(pl.Datetime("ns")), pl.col("cause"))
        session.insert("stale_minutes", shown.to_arrow())


def mark_slice(session: Session, number: int, *, cause: int) -> None:
    """Note as stale every minute that the metric points of a slice are of."""
    session.run(
        f"INSERT INTO stale_minutes SELECT DISTINCT {_MINUTE}, $cause::BIGINT"  # noqa: S608
        f" FROM {METRIC_POINTS.name} WHERE slice = $slice AND time IS NOT NULL",
        {"slice": number, "cause": cause},
    )


def finish(session: Session, last: int) -> None:
    """Note as final every minute of which points up to slice ``last`` are about to leave."""
    session.run(
        f"INSERT INTO final_minutes SELECT DISTINCT {_MINUTE} FROM {METRIC_POINTS.name}"  # noqa: S608
        f" WHERE slice <= $last AND time IS NOT NULL AND {_MINUTE} NOT IN"
        " (SELECT minute FROM final_minutes)",
        {"last": last},
    )


def forget_final(session: Session, *, before: int) -> None:
    """Forget the final minutes before a time, Unix nanoseconds: nothing derived is left of them."""
    session.run(
        "DELETE FROM final_minutes WHERE minute < make_timestamp_ns($before)", {"before": before}
    )
