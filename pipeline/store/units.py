"""Slices, their links and the units they are analysed in: what is dirty, and what replaces it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import polars as pl
import pyarrow as pa

from pipeline.errors import InvalidInput, StoreBusy
from pipeline.model.table import Table
from pipeline.model.tables import DERIVED, SLICE
from pipeline.store.connection import Database, Session
from pipeline.store.lease import Lease
from pipeline.store.merge import merged
from pipeline.store.metric_minutes import mark
from pipeline.store.port import Unit

_DIRTY = """
WITH marked AS (
    SELECT coalesce(u.low, d.slice) AS low, coalesce(u.high, d.slice) AS high, d.cause
    FROM dirty_slices d LEFT JOIN units u ON d.slice BETWEEN u.low AND u.high
), dirty AS (
    SELECT low, high, max(cause) AS cause FROM marked GROUP BY low, high
)
SELECT low, high, cause, coalesce(sum(s.rows), 0)::BIGINT AS rows
FROM dirty LEFT JOIN slices s ON s.slice BETWEEN low AND high
GROUP BY low, high, cause ORDER BY low
"""

_WANTED = "(SELECT unnest($lows::BIGINT[]) AS low, unnest($highs::BIGINT[]) AS high)"

_LINKED = f"""
WITH wanted AS {_WANTED}
SELECT slice FROM slices, wanted WHERE slice BETWEEN low AND high
UNION SELECT slice FROM slice_links, wanted WHERE home BETWEEN low AND high
UNION SELECT home FROM slice_links, wanted WHERE slice BETWEEN low AND high
ORDER BY 1
"""  # noqa: S608

_QUIET = """
SELECT low, high FROM units u
WHERE ($before::BIGINT IS NULL OR high < $before)
  AND NOT EXISTS (SELECT 1 FROM dirty_slices d WHERE d.slice BETWEEN u.low AND u.high)
ORDER BY low
"""

_ACROSS = f"""
SELECT u.low, u.high FROM units u, {_WANTED} w
WHERE u.low <= w.high AND u.high >= w.low AND NOT (u.low >= w.low AND u.high <= w.high)
"""  # noqa: S608

_IN_WANTED = f"EXISTS (SELECT 1 FROM {_WANTED} w WHERE slice BETWEEN w.low AND w.high)"  # noqa: S608


def unnoticed(database: Database) -> list[int]:
    """See ``Store.unnoticed``."""
    with database.session() as session:
        return _numbers(session, "SELECT slice FROM slices WHERE NOT noticed ORDER BY slice")


def noticed(database: Database) -> list[int]:
    """See ``Store.noticed``."""
    with database.session() as session:
        return _numbers(session, "SELECT slice FROM slices WHERE noticed ORDER BY slice")


def homes_moved(database: Database) -> int:
    """See ``Store.homes_moved``."""
    with database.session() as session:
        return _homes_moved(session)


def _homes_moved(session: Session) -> int:
    ((times,),) = session.rows("SELECT value FROM counters WHERE name = 'homes'")
    return int(times)


def notice(
    lease: Lease,
    slices: Sequence[int],
    links: pl.DataFrame,
    *,
    minutes: pl.DataFrame | None,
    homes_moved: int | None,
) -> None:
    """See ``Store.notice``."""
    if not slices:
        return
    added = links.select(pl.col("home", "slice").cast(pl.Int64)).unique(maintain_order=True)
    if not added.filter(
        (pl.col("home") >= pl.col("slice")) | (pl.col("slice") > max(slices))
    ).is_empty():
        allowed = "home < slice, and slice one of those noticed now or before"
        raise InvalidInput("links", found="other links", allowed=allowed)

    def work(session: Session) -> None:
        if homes_moved is not None and homes_moved != _homes_moved(session):
            raise StoreBusy("slices were rewritten meanwhile; look at them again", retry_after=0.0)
        _notice(session, slices, added)
        if minutes is not None:
            mark(session, minutes)

    lease.commit(work)


def _notice(session: Session, slices: Sequence[int], added: pl.DataFrame) -> None:
    seen = {"slices": list(slices)}
    for forget in ("slice_links WHERE slice", "dirty_slices WHERE cause"):
        session.run(f"DELETE FROM {forget} IN (SELECT unnest($slices::BIGINT[]))", seen)  # noqa: S608
    session.run(
        "UPDATE slices SET noticed = true WHERE slice IN (SELECT unnest($slices::BIGINT[]))", seen
    )
    kept = _numbers(session, "SELECT slice FROM slices")
    # a home whose raw rows are past their age is not recomputed: its numbers are final
    added = added.filter(pl.col("home").is_in(kept))
    own = pl.DataFrame({"slice": slices, "cause": slices}, schema=_MARK)
    # a link to a slice that was noticed before is news all the same
    news = pl.when(pl.col("slice").is_in(slices)).then("slice").otherwise(max(slices))
    homes = added.select(slice="home", cause=news).unique(maintain_order=True)
    session.insert("dirty_slices", pl.concat([own, homes]).to_arrow())
    before = added.filter(~pl.col("slice").is_in(slices))
    if not before.is_empty():
        among = {"among": before["slice"].unique().to_list()}
        held = session.frame(_HELD, among)
        added = added.join(held, on=["home", "slice"], how="anti", maintain_order="left")
    if not added.is_empty():
        session.insert("slice_links", added.to_arrow())


_HELD = "SELECT home, slice FROM slice_links WHERE slice IN (SELECT unnest($among::BIGINT[]))"

_MARK = pl.Schema({"slice": pl.Int64, "cause": pl.Int64})


def dirty(database: Database) -> pl.DataFrame:
    """See ``Store.dirty``."""
    with database.session() as session:
        return session.frame(_DIRTY)


def linked(database: Database, units: Sequence[Unit]) -> list[int]:
    """See ``Store.linked``."""
    with database.session() as session:
        return _numbers(session, _LINKED, _wanted(units))


def replace(
    lease: Lease, units: Sequence[Unit], derived: Mapping[str, pa.Table], *, cause: int
) -> None:
    """See ``Store.replace``."""
    unknown = sorted(derived.keys() - {table.name for table in DERIVED})
    if unknown:
        raise InvalidInput("derived", found=", ".join(unknown), allowed="derived tables")
    lows = {unit.low for unit in units}
    for name, rows in derived.items():
        strays = set(rows.column(SLICE.name).unique().to_pylist()) - lows
        if strays:
            allowed = "the lowest slice of a unit that is replaced"
            raise InvalidInput(f"{name}.slice", found=sorted(strays)[:3], allowed=allowed)
    if units:
        lease.commit(lambda session: _replace(session, units, derived, cause))


def _replace(
    session: Session, units: Sequence[Unit], derived: Mapping[str, pa.Table], cause: int
) -> None:
    _become(session, units)
    session.run(
        f"DELETE FROM dirty_slices WHERE cause <= $cause AND {_IN_WANTED}",  # noqa: S608
        {**_wanted(units), "cause": cause},
    )
    for table in DERIVED:
        _swap(session, table, units, derived.get(table.name))


def quiet_units(database: Database, *, before: int | None) -> list[Unit]:
    """See ``Store.quiet_units``."""
    with database.session() as session:
        return [Unit(low, high) for low, high in session.rows(_QUIET, {"before": before})]


def merge(lease: Lease, unit: Unit) -> None:
    """See ``Store.merge``."""
    lease.commit(lambda session: _merge(session, unit))


def _merge(session: Session, unit: Unit) -> None:
    marks = f"SELECT count(*) FROM dirty_slices WHERE {_IN_WANTED}"  # noqa: S608
    if session.rows(marks, _wanted([unit])) != [(0,)]:
        raise StoreBusy(f"slices {unit.low}-{unit.high} became dirty; recompute them first")
    _become(session, [unit])
    for table in DERIVED:
        rows = session.frame(
            f"SELECT * EXCLUDE (slice) FROM {table.name} WHERE {_IN_WANTED}",  # noqa: S608
            _wanted([unit]),
        )
        summed = merged(table, rows).select(pl.lit(unit.low, pl.Int64).alias("slice"), pl.all())
        _swap(session, table, [unit], summed.to_arrow())


def _become(session: Session, units: Sequence[Unit]) -> None:
    """Put each unit in the place of all inside it."""
    ordered = sorted(units)
    across = [Unit(low, high) for low, high in session.rows(_ACROSS, _wanted(units))]
    across += [unit for unit in ordered if unit.low > unit.high]
    across += [after for before, after in pairwise(ordered) if before.high >= after.low]
    if across:
        found = ", ".join(f"{low}-{high}" for low, high in across[:3])
        allowed = "ranges that neither overlap nor cut another unit in two"
        raise InvalidInput("units", found=found, allowed=allowed)
    kept = f"SELECT count(*) FROM slices WHERE {_IN_WANTED}"  # noqa: S608
    ((slices,),) = session.rows(kept, _wanted(units))
    if slices != sum(unit.high - unit.low + 1 for unit in units):
        raise StoreBusy("raw rows of these units passed their age meanwhile; read the units again")
    session.run(
        f"DELETE FROM units WHERE EXISTS (SELECT 1 FROM {_WANTED} w"  # noqa: S608
        " WHERE units.low >= w.low AND units.high <= w.high)",
        _wanted(units),
    )
    made = pl.DataFrame(ordered, schema={"low": pl.Int64, "high": pl.Int64}, orient="row")
    session.insert("units", made.to_arrow())


def _swap(session: Session, table: Table, units: Sequence[Unit], rows: pa.Table | None) -> None:
    """Put derived rows in the place of those the units had."""
    session.run(f"DELETE FROM {table.name} WHERE {_IN_WANTED}", _wanted(units))  # noqa: S608
    if rows is not None and rows.num_rows:
        session.insert(table.name, rows)


def _wanted(units: Sequence[Unit]) -> dict[str, object]:
    """Units as parameters of a statement."""
    return {"lows": [unit.low for unit in units], "highs": [unit.high for unit in units]}


def _numbers(
    session: Session, sql: str, parameters: Mapping[str, object] | None = None
) -> list[int]:
    return [number for (number,) in session.rows(sql, parameters)]
