"""Trying again what was set aside: from the bus where it keeps the message, else from the table."""

import asyncio
import base64
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipeline.jobs.decoding import KEPT_PAYLOAD
from pipeline.jobs.replay import Replay, Report
from pipeline.model.messages import Message, Partition
from pipeline.model.runs import Run
from pipeline.model.topics import (
    FORMAT_HEADER,
    RECORDS_HEADER,
    SOURCE_HEADER,
)
from pipeline.store.port import Store

Row = dict[str, Any]


class Retried(NamedTuple):
    """What became of messages that were set aside.

    Attributes:
        report: what was decoded again, neighbours in the same slices included.
        accepted: messages (``topic/partition/offset``) of which nothing is set aside any more.
        staying: what still is: rows of the question ``quarantined``, without payload.
    """

    report: Report
    accepted: list[str]
    staying: pl.DataFrame


async def retry(replay: Replay, store: Store, rows: pl.DataFrame, *, batch_bytes: int) -> Retried:
    """Decode messages again that were set aside.

    A message of a slice has its whole slice rewritten. A message that gave no row becomes a new
    slice. One that the bus keeps no more is read from the table, where that kept it whole.

    Args:
        replay: decodes them.
        store: where they are set aside.
        rows: which: rows of the question ``quarantined``, with payload.
        batch_bytes: bytes of messages to read from the table for one commit, about.

    Raises:
        StoreBusy: another writer was faster, again and again.
    """
    report = await replay.over(_runs(rows))
    for messages in _together(_kept_whole(rows, report), batch_bytes):
        await replay.anew(messages, report)
    asked = rows["message"].unique(maintain_order=True).to_list()
    staying = await asyncio.to_thread(_still, store, asked)
    left = set(staying["message"])
    return Retried(report, [message for message in asked if message not in left], staying)


def _still(store: Store, messages: Sequence[str]) -> pl.DataFrame:
    return store.ask(
        "quarantined", ids=list(messages), reason=None, payload=False, limit=None, offset=0
    )


def _runs(rows: pl.DataFrame) -> list[Run]:
    """Runs of the messages of rows; neighbours are one run."""
    places = rows.select("topic", "partition", "position").unique().sort(pl.all())
    runs: list[Run] = []
    for topic, number, position in places.iter_rows():
        partition = Partition(topic, number)
        if runs and (runs[-1].partition, runs[-1].until) == (partition, position):
            runs[-1] = runs[-1]._replace(until=position + 1)
        else:
            runs.append(Run(partition, position, position + 1))
    return runs


def _kept_whole(rows: pl.DataFrame, report: Report) -> Iterator[Message]:
    """Messages that the bus could not give again, and of which the table kept every byte."""
    gone = [skipped.run for skipped in report.skipped]
    for row in rows.unique("message", maintain_order=True).iter_rows(named=True):
        partition = Partition(row["topic"], row["partition"])
        missing = any(
            run.partition == partition and run.first <= row["position"] < run.until for run in gone
        )
        if missing and row["payload"] is not None:
            message = _message(partition, row)
            if len(message.value) < KEPT_PAYLOAD:
                yield message


def _message(partition: Partition, row: Row) -> Message:
    # when it was received stays as the table tells it: the store sees to that
    told = {FORMAT_HEADER: row["format"], SOURCE_HEADER: row["source"]}
    headers = {name: value for name, value in told.items() if value}
    headers[RECORDS_HEADER] = str(row["records"])
    return Message(partition, row["position"], base64.b64decode(row["payload"]), headers)


def _together(messages: Iterator[Message], size: int) -> Iterator[list[Message]]:
    """Groups of messages of about a size in bytes."""
    group: list[Message] = []
    held = 0
    for message in messages:
        group.append(message)
        held += len(message.value)
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group
