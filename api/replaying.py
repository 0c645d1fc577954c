"""``meshweir replay``: messages decoded again, until the graph knows what came of it."""

import contextlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from api.openapi_documents import documents_of
from api.parts import Parts, open_parts
from api.settings import Settings
from api.settling import settle
from api.sources import must_exist
from api.times import EPOCH
from collectors.redaction import redaction
from pipeline.jobs.replay import Replay, Report, Skipped

PATIENCE_SECONDS: Final = 600.0
"""How long to wait for another process that computes the graph."""


class Replayed(NamedTuple):
    """What a replay did, and whether the graph knows it already."""

    report: Report
    settled: bool


async def replay(settings: Settings, *, since: datetime, until: datetime) -> Replayed:
    """Decode what the bus stored in a time again, and compute the graph anew.

    Progress goes to stderr.

    Raises:
        MeshweirError: there is no such data directory.
        StoreBusy: another process holds it.
        BusUnavailable: the bus does not answer.
    """
    must_exist(settings)
    async with open_parts(settings) as parts:
        with Shown("replaying") as shown:
            report = await make_replay(parts, shown).between(_unix_ns(since), _unix_ns(until))
            shown.analysing()
            return Replayed(report, await settled(parts))


async def settled(parts: Parts) -> bool:
    """Whether the graph knows what was replayed; see ``settle``."""
    documents = documents_of(parts.settings.analysis)
    return await settle(parts.store, patience=PATIENCE_SECONDS, documents=documents)


def make_replay(parts: Parts, shown: "Shown") -> Replay:
    """A replay of a process's parts."""
    return Replay(
        parts.bus,
        parts.store,
        parts.settings.ingest,
        masked=redaction(parts.settings.collectors.intake),
        on_progress=shown.done,
    )


def _unix_ns(time: datetime) -> int:
    age = time - EPOCH
    return (age.days * 86_400 + age.seconds) * 1_000_000_000 + age.microseconds * 1_000


def told(replayed: Replayed) -> dict[str, Any]:
    """What ``--json`` says of a replay."""
    report = replayed.report
    return {
        "slices": report.slices,
        "new_slices": report.new_slices,
        "messages": report.messages,
        "records": {"before": report.rows_before, "after": report.rows},
        "quarantined": {"before": report.quarantined_before, "after": report.quarantined},
        "skipped": [
            {"reason": reason, "slices": slices, "messages": messages}
            for reason, slices, messages in _skipped(report.skipped)
        ],
        "graph": "computed" if replayed.settled else "not computed yet",
    }


def answer(replayed: Replayed) -> bytes:
    """What ``--json`` prints."""
    return orjson.dumps(told(replayed)) + b"\n"


def summary(replayed: Replayed) -> str:
    """A few lines, for people."""
    report = replayed.report
    lines = [
        f"{report.messages:,} messages decoded again",
        f"slices: {report.slices:,} rewritten, {report.new_slices:,} new",
        f"records: {report.rows:,}, before {report.rows_before:,}",
        f"set aside: {report.quarantined:,}, before {report.quarantined_before:,}",
        *(
            f"left as they are: {messages:,} messages in {slices:,} slices: {reason}"
            for reason, slices, messages in _skipped(report.skipped)
        ),
    ]
    if not replayed.settled:
        lines.append("the graph is not computed anew yet: another process has that in hand")
    return "\n".join(lines) + "\n"


def _skipped(skipped: Sequence[Skipped]) -> list[tuple[str, int, int]]:
    """By reason how many slices and messages were left."""
    slices: defaultdict[str, set[int]] = defaultdict(set)
    messages: defaultdict[str, int] = defaultdict(int)
    for run, reason in skipped:
        messages[reason] += run.until - run.first
        if run.slice is not None and run.slice > 0:
            slices[reason].add(run.slice)
    return [(reason, len(slices[reason]), count) for reason, count in sorted(messages.items())]


class Shown(contextlib.AbstractContextManager["Shown"]):
    """Progress on stderr: a bar on a terminal, nothing that moves elsewhere."""

    def __init__(self, doing: str) -> None:
        console = Console(stderr=True, file=sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("messages"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(doing, total=None)
        self._total = 0

    def __enter__(self) -> Self:
        """Begin to show."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was shown."""
        self._progress.stop()

    def done(self, messages: int, total: int) -> None:
        """Show how many messages are done, and of how many."""
        self._total = total
        self._progress.update(self._task, completed=messages, total=total)

    def analysing(self) -> None:
        """Say that decoding is done."""
        self._progress.console.print(f"{self._total:,} messages done; computing the graph")
