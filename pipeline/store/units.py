"""Slices, their links and the units they are analysed in: what is dirty, and what replaces it."""

from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa

from pipeline.errors import InvalidInput, StoreBusy
from pipeline.model.tables import DERIVED, Table
from pipeline.store.connection import Database, Session
from pipeline.store.merge import merged
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

_LINKED = """
WITH wanted AS (SELECT unnest($lows::BIGINT[]) AS low, unnest($highs::BIGINT[]) AS high)
SELECT slice FROM slices, wanted WHERE slice BETWEEN low AND high
UNION SELECT slice FROM slice_links, wanted WHERE home BETWEEN low AND high
UNION SELECT home FROM slice_links, wanted WHERE slice BETWEEN low AND high
ORDER BY 1
"""

_QUIET = """
SELECT low, high FROM units u
WHERE ($before::BIGINT IS NULL OR high < $before)
  AND NOT EXISTS (SELECT 1 FROM dirty_slices d WHERE d.slice BETWEEN u.low AND u.high)
ORDER BY low
"""

_ACROSS = """
SELECT low, high FROM units
WHERE low <= $high AND high >= $low AND NOT (low >= $low AND high <= $high)
"""


def unnoticed(database: Database) -> list[int]:
    """See ``Store.unnoticed``."""
    with database.session() as session:
        return _numbers(session, "SELECT slice FROM slices WHERE NOT noticed ORDER BY slice")


def noticed(database: Database) -> list[int]:
    """See ``Store.noticed``."""
    with database.session() as session:
        return _numbers(session, "SELECT slice FROM slices WHERE noticed ORDER BY slice")


def noticed(database: Database) -> list[int]:
    """See ``Store.noticed``."""
    with database.session() as session:
        return _numbers(session, "SELECT slice FROM slices WHERE noticed ORDER BY slice")


def notice(database: Database, slices: Sequence[int], links: pl.DataFrame) -> None:
    """See ``Store.notice``."""
    if not slices:
        return
    seen = {"slices": list(slices)}
    added = links.select(pl.col("home", "slice").cast(pl.Int64)).unique(maintain_order=True)
    if not added.filter(
        (pl.col("home") >= pl.col("slice")) | ~pl.col("slice").is_in(slices)
    ).is_empty():
        raise InvalidInput(
            "links", found="other links", allowed="home < slice, and slice one of those noticed"
        )
    with database.transaction() as session:
        for forget in ("slice_links WHERE slice", "dirty_slices WHERE cause"):
            session.run(f"DELETE FROM {forget} IN (SELECT unnest($slices::BIGINT[]))", seen)  # noqa: S608
        session.run(
            "UPDATE slices SET noticed = true WHERE slice IN (SELECT unnest($slices::BIGINT[]))",
            seen,
        )
        own = pl.DataFrame({"slice": slices, "cause": slices}, schema=_MARK)
        homes = added.select(slice="home", cause="slice")
        session.insert("dirty_slices", pl.concat([own, homes]).to_arrow())
        if not added.is_empty():
            session.insert("slice_links", added.to_arrow())


_MARK = pl.Schema({"slice": pl.Int64, "cause": pl.Int64})


def dirty(database: Database) -> pl.DataFrame:
    """See ``Store.dirty``."""
    with database.session() as session:
        return session.frame(_DIRTY)


def linked(database: Database, units: Sequence[Unit]) -> list[int]:
    """See ``Store.linked``."""
    bounds = {"lows": [unit.low for unit in units], "highs": [unit.high for unit in units]}
    with database.session() as session:
        return [number for (number,) in session.rows(_LINKED, bounds)]


def replace(
    database: Database, units: Sequence[Unit], derived: Mapping[str, pa.Table], *, cause: int
) -> None:
    """See ``Store.replace``."""
    unknown = sorted(derived.keys() - {table.name for table in DERIVED})
    if unknown:
        raise InvalidInput("derived", found=", ".join(unknown), allowed="derived tables")
    with database.transaction() as session:
        for unit in units:
            _become_one(session, unit)
            for table in DERIVED:
                _forget(session, table, unit)
            session.run(
                "DELETE FROM dirty_slices WHERE slice BETWEEN $low AND $high AND cause <= $cause",
                {**unit._asdict(), "cause": cause},
            )
        for name, rows in derived.items():
            if rows.num_rows:
                session.insert(name, rows)


def quiet_units(database: Database, *, before: int | None) -> list[Unit]:
    """See ``Store.quiet_units``."""
    with database.session() as session:
        return [Unit(low, high) for low, high in session.rows(_QUIET, {"before": before})]


def merge(database: Database, unit: Unit) -> None:
    """See ``Store.merge``."""
    with database.transaction() as session:
        marks = "SELECT count(*) FROM dirty_slices WHERE slice BETWEEN $low AND $high"
        if session.rows(marks, unit._asdict()) != [(0,)]:
            raise StoreBusy(f"slices {unit.low}-{unit.high} became dirty; recompute them first")
        _become_one(session, unit)
        for table in DERIVED:
            rows = session.frame(
                f"SELECT * EXCLUDE (slice) FROM {table.name} WHERE slice BETWEEN $low AND $high",  # noqa: S608
                unit._asdict(),
            )
            _forget(session, table, unit)
            session.insert(table.name, merged(table, rows).to_arrow(), slice_number=unit.low)


def _become_one(session: Session, unit: Unit) -> None:
    """Put one unit in the place of all inside it."""
    across = session.rows(_ACROSS, unit._asdict())
    if across or unit.low > unit.high:
        found = f"{unit.low}-{unit.high}" + "".join(
            f", across {low}-{high}" for low, high in across
        )
        raise InvalidInput("unit", found=found, allowed="a range that cuts no other unit in two")
    session.run("DELETE FROM units WHERE low >= $low AND high <= $high", unit._asdict())
    session.run("INSERT INTO units VALUES ($low, $high)", unit._asdict())


def _forget(session: Session, table: Table, unit: Unit) -> None:
    session.run(
        f"DELETE FROM {table.name} WHERE slice BETWEEN $low AND $high",  # noqa: S608
        unit._asdict(),
    )


def _numbers(session: Session, sql: str) -> list[int]:
    return [number for (number,) in session.rows(sql)]
