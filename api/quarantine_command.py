"""``meshweir quarantine``: what was set aside, and trying it again."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
import polars as pl

from api import quarantine, replaying
from api.dump import dump
from api.pages import Cursor, Slot
from api.parts import open_parts
from api.problems import NotFound
from api.quarantine import QuarantineQuery
from api.settings import Settings
from api.sources import client, must_exist, opened
from pipeline.jobs.retry import Retried, retry
from pipeline.store.port import Store

Body = Mapping[str, Any]

COLUMNS: Final = ("ID", "RECEIVED", "FORMAT", "SOURCE", "RECORDS", "BYTE", "REASON")
UNKNOWN: Final = "-"


def from_data(settings: Settings, query: QuarantineQuery, *, limit: int) -> bytes:
    """The body of ``GET /v1/quarantine``, from a data directory that nobody else holds.

    Raises:
        MeshweirError: there is no such directory.
        StoreBusy: a running Meshweir holds it; says where that answers.
    """
    with opened(settings, "quarantine list") as store:
        return quarantine.answer(store, query, Slot(Cursor(query.key), limit, "json"))


def from_url(url: str, token: str | None, query: QuarantineQuery, *, limit: int) -> bytes:
    """The body of ``GET /v1/quarantine`` of a running Meshweir.

    Raises:
        MeshweirError: it does not answer, or refuses.
    """
    parameters = {"limit": str(limit), "payload": str(query.payload).lower()}
    if query.reason is not None:
        parameters["reason"] = query.reason
    if query.id is not None:
        parameters["id"] = query.id
    return client(url, token)("/v1/quarantine", parameters)


def table(body: bytes) -> str:
    """The list as plain columns."""
    told = orjson.loads(body)
    rows = [COLUMNS, *map(_cells, told["items"])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if told["next"] is not None:
        lines.append("there is more: raise --limit")
    return "\n".join(lines) + "\n"


def _cells(item: Body) -> tuple[str, ...]:
    names = ("id", "received_at", "format", "source", "records", "byte_offset", "reason")
    return tuple(UNKNOWN if item[name] in {None, ""} else str(item[name]) for name in names)


def details(body: bytes, asked: str) -> str:
    """Each entry of one message with all that is known of it, and the bytes around the fault.

    Raises:
        NotFound: there is no such entry.
    """
    items = orjson.loads(body)["items"]
    if not items:
        raise _not_found([asked])
    return "\n".join(map(_entry, items))


def _not_found(ids: Sequence[str]) -> NotFound:
    return NotFound(
        "quarantined message",
        field="ID",
        found=", ".join(ids),
        allowed="an id that meshweir quarantine list shows",
    )


def _entry(item: Body) -> str:
    facts = [(name, item[name]) for name in item if name != "payload"]
    lines = [f"{name:<12} {UNKNOWN if value is None else value}\n" for name, value in facts]
    if item["payload"] is None:
        lines.append("\nsingle records are not kept here: their message is on the bus\n")
        return "".join(lines)
    payload = base64.b64decode(item["payload"])
    lines.append(f"\n{len(payload)} bytes are kept\n")
    return "".join(lines) + dump(payload, item["byte_offset"])


async def try_again(
    settings: Settings, ids: Sequence[str] | None, reason: str | None
) -> tuple[Retried, bool]:
    """Decode messages again that were set aside; all of them when there are no ids.

    Returns:
        What became of them, and whether the graph knows it already.

    Raises:
        NotFound: one of the ids is not there.
        MeshweirError: there is no such data directory.
        StoreBusy: another process holds it.
    """
    must_exist(settings)
    async with open_parts(settings) as parts:
        rows = await asyncio.to_thread(_chosen, parts.store, ids, reason)
        with replaying.Shown("trying again") as shown:
            replay = replaying.make_replay(parts, shown)
            batch_bytes = settings.ingest.batch_bytes
            done = await retry(replay, parts.store, rows, batch_bytes=batch_bytes)
            shown.analysing()
            return done, await replaying.settled(parts)


def _chosen(store: Store, ids: Sequence[str] | None, reason: str | None) -> pl.DataFrame:
    rows = store.ask(
        "quarantined",
        reason=reason,
        ids=None if ids is None else list(ids),
        payload=True,
        limit=None,
        offset=0,
    )
    there = {*rows["message"], *rows.select(quarantine.entry_id()).to_series()}
    missing = [one for one in ids or () if one not in there]
    if missing:
        raise _not_found(missing)
    return rows


def retried_answer(done: Retried, *, settled: bool) -> bytes:
    """What ``retry --json`` prints."""
    staying = quarantine.entries_as_answered(done.staying)
    return (
        orjson.dumps(
            {
                "accepted": done.accepted,
                "staying": staying.select("id", "records", "reason").to_dicts(),
                "replay": replaying.told(replaying.Replayed(done.report, settled)),
            }
        )
        + b"\n"
    )


def retried_summary(done: Retried, *, settled: bool) -> str:
    """One line per message, and what it took, for people."""
    staying = quarantine.entries_as_answered(done.staying)
    lines = [f"{message}: accepted\n" for message in done.accepted]
    lines += [
        f"{entry}: stays: {reason}\n"
        for entry, reason in staying.select("id", "reason").iter_rows()
    ]
    return "".join(lines) + replaying.summary(replaying.Replayed(done.report, settled))
