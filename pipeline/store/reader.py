"""Reading: named questions, each one file of SQL, each with a time limit.

``{measures}`` in a file stands for the measures of a derived row, each summed over the rows of its
group, lists put one after the other; ``{by_metrics}`` for those that metrics alone tell.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.errors import InvalidInput
from pipeline.model.table import Column
from pipeline.model.tables import BY_METRICS, MEASURES
from pipeline.store.connection import Database, Session

QUERIES = Path(__file__).parent / "queries"

AGAIN_SECONDS: Final = 0.1
"""Pause between two interrupts of one question."""

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@cache
def questions() -> dict[str, str]:
    """Every question that can be asked: its name and its SQL."""
    return {
        path.stem: path.read_text(encoding="utf-8")
        .replace("{measures}", _sums(MEASURES))
        .replace("{by_metrics}", _sums(BY_METRICS))
        for path in sorted(QUERIES.glob("*.sql"))
    }


def _sums(measures: Iterable[Column]) -> str:
    return ",\n    ".join(map(_summed, measures))


def _summed(measure: Column) -> str:
    name = f'"{measure.name}"'
    total = f"flatten(list({name}))" if measure.kind.endswith("[]") else f"sum({name})::BIGINT"
    return f"{total} AS {name}"


def ask(
    database: Database, question: str, parameters: dict[str, object], *, time_limit: float
) -> pl.DataFrame:
    """Answer a named question; see ``Store.ask``. ``time_limit`` is seconds."""
    sql = questions().get(question)
    if sql is None:
        raise InvalidInput("question", found=question, allowed=", ".join(questions()))
    bound = {name: _bindable(value) for name, value in parameters.items()}
    with database.session() as session, _interrupted(session, time_limit):
        return session.frame(sql, bound)


@contextmanager
def _interrupted(session: Session, seconds: float) -> Iterator[None]:
    """Stop what a session does once it takes too long."""
    done = threading.Event()

    def watch() -> None:
        pause = seconds
        # again and again: who has not quite begun does not hear of it
        while not done.wait(pause):
            session.interrupt()
            pause = AGAIN_SECONDS

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        # an interrupt that is under way must not hit a closed connection
        watching.join()


def _bindable(value: object) -> object:
    """Times as Unix nanoseconds; everything else as it is."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise InvalidInput("time", found=str(value), allowed="a time with its time zone")
    age = value - _EPOCH
    return (age.days * 86_400 + age.seconds) * 1_000_000_000 + age.microseconds * 1_000
