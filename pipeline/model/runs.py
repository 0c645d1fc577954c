"""Runs of messages, and what became of them: whose rows a replay replaces."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pipeline.model.messages import Partition

FINAL: Final = 0
"""In the place of a slice: retention took the rows, and what they summed to stays as it is."""

NEVER: Final = -1
"""In the place of a slice: these messages never were in the store."""


class Run(NamedTuple):
    """Neighbouring messages of one partition.

    Attributes:
        partition: where they stand.
        first: offset of the first.
        until: offset after the last.
        slice: the slice that holds what they were decoded to; None when they gave no raw row, as
            messages do that were set aside; FINAL or NEVER.
    """

    partition: Partition
    first: int
    until: int
    slice: int | None = None


def divided(wanted: Run, known: Iterable[Run]) -> list[Run]:
    """Divide a run by what became of its messages.

    Args:
        wanted: the run; its ``slice`` does not matter.
        known: recorded runs. Those of slices, and those without rows, never overlap. One of
            FINAL may lie under them: it says what became of the messages that no other names.

    Returns:
        Runs that are ``wanted`` when put together, ascending.
    """
    mine = sorted(run for run in known if _meet(run, wanted))
    final = [run for run in mine if run.slice == FINAL]
    parts: list[Run] = []
    at = wanted.first
    for run in (one for one in mine if one.slice != FINAL):
        parts += _unnamed(wanted.partition, at, run.first, final)
        at = min(run.until, wanted.until)
        parts.append(run._replace(first=max(run.first, wanted.first), until=at))
    parts += _unnamed(wanted.partition, at, wanted.until, final)
    return parts


def _meet(run: Run, wanted: Run) -> bool:
    return (
        run.partition == wanted.partition
        and run.first < wanted.until
        and run.until > wanted.first
    )  # fmt: skip


def _unnamed(partition: Partition, first: int, until: int, final: list[Run]) -> Iterator[Run]:
    """A run that neither a slice nor a run without rows names: taken by retention, or never in."""
    for run in final:
        if first < min(run.first, until):
            yield Run(partition, first, min(run.first, until), NEVER)
        begin, end = max(run.first, first), min(run.until, until)
        if begin < end:
            yield Run(partition, begin, end, FINAL)
        first = max(first, end)
    if first < until:
        yield Run(partition, first, until, NEVER)
