"""``meshweir import``: recordings into the store, until the graph knows them."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from api.openapi_documents import documents_of
from api.parts import Parts, open_parts
from api.settings import Settings
from collectors.receive import file
from collectors.redaction import redaction
from pipeline.errors import Transient
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.minutes import MinutesJob


async def import_recordings(
    settings: Settings, paths: Sequence[Path], *, format: str
) -> list[file.FileReport]:
    """Read files onto the bus, from there into the store, and analyse what came in.

    Returns when the graph knows every record; progress goes to stderr.

    Raises:
        InvalidInput: the format is not known, or an OpenAPI document cannot be read.
        StoreBusy: another process holds the data directory.
    """
    documents = documents_of(settings.analysis)
    async with open_parts(settings) as parts:
        ingest = IngestJob(
            parts.bus,
            parts.store,
            parts.ledger,
            settings.ingest,
            masked=redaction(parts.settings.collectors.intake),
        )
        done = asyncio.Event()
        with Shown(paths) as shown:
            draining = asyncio.create_task(_drain(parts, ingest, done))
            try:
                reports = await file.import_files(
                    paths,
                    format=format,
                    bus=parts.bus,
                    ledger=parts.ledger,
                    on_progress=shown.reading,
                    settings=parts.settings.collectors.intake,
                )
            finally:
                done.set()
                await draining
            shown.analysing()
            await MinutesJob(parts.store, documents).settle()
        return reports


async def _drain(parts: Parts, ingest: IngestJob, done: asyncio.Event) -> None:
    """Ingest until reading is done and the bus has nothing that is not in the store."""
    while True:
        last = done.is_set()
        try:
            await ingest.run()
        except Transient as problem:
            await asyncio.sleep(problem.retry_after)
            continue
        if last and not await _behind(parts):
            return


async def _behind(parts: Parts) -> bool:
    stored = await asyncio.to_thread(parts.store.positions)
    ends = parts.bus.status().ends
    return any(end > stored.get(partition, 0) for partition, end in ends.items())


def answer(reports: Sequence[file.FileReport]) -> bytes:
    """What ``--json`` prints."""
    files: list[dict[str, Any]] = []
    for report in reports:
        told: dict[str, Any] = {
            "path": report.path,
            "format": report.format,
            "accepted": report.accepted,
            "quarantined": report.quarantined,
        }
        files.append(told if report.error is None else told | {"error": report.error})
    return orjson.dumps({"files": files}) + b"\n"


def summary(reports: Sequence[file.FileReport]) -> str:
    """One line per file, for people."""
    return "".join(
        f"{report.path}: {report.accepted:,} records ({report.format})"
        + (f", {report.quarantined:,} set aside" if report.quarantined else "")
        + (f"; cannot be read: {report.error}" if report.error else "")
        + "\n"
        for report in reports
    )


class Shown(contextlib.AbstractContextManager["Shown"]):
    """Progress on stderr: bars on a terminal, nothing that moves elsewhere."""

    def __init__(self, paths: Sequence[Path]) -> None:
        console = Console(stderr=True, file=sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[records]:,} records"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._files = len(paths)

    def __enter__(self) -> Self:
        """Begin to show."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was shown."""
        self._progress.stop()

    def reading(self, now: file.Progress) -> None:
        """Show how far a file is."""
        task = self._tasks.get(now.path)
        if task is None:
            task = self._progress.add_task(now.path, total=now.bytes_total, records=0)
            self._tasks[now.path] = task
        self._progress.update(
            task, completed=now.bytes_read, total=now.bytes_total, records=now.accepted
        )

    def analysing(self) -> None:
        """Say that reading is done."""
        self._progress.console.print(f"{self._files} file(s) read; computing the graph")
