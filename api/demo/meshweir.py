"""Meshweir beside the mesh, in processes of its own, and the questions put to it."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from api.demo.envoy import Address
from api.demo.kafka import Kafka
from api.demo.mesh import Ends, Truth
from api.demo.network import free_address
from api.demo.processes import Child, spawn
from api.demo.running import DemoFailed
from api.demo.scraping import write_configuration

START_SECONDS: Final = 90.0
"""How long Meshweir may take until it is ready; the first start compiles the decoders."""

ANSWER_SECONDS: Final = 30.0
"""How long an answer may take; the machine may be busy with the mesh."""

_SCRAPED: Final = re.compile(
    r'^meshweir_ingest_records_total\{[^}]*source="scrape"[^}]*outcome="accepted"', re.MULTILINE
)
"""Of the metrics of a process that scrapes: records were accepted."""

_DROPPED: Final = ("MESHWEIR_", "OTEL_")


@dataclass(frozen=True, slots=True)
class Program:
    """One process of Meshweir, before it runs.

    Attributes:
        command: the command, such as ``up``.
        api: where it answers whether it is ready.
        arguments: its other flags.
    """

    command: str
    api: Address
    arguments: tuple[str, ...]

    @property
    def url(self) -> str:
        """Base of its HTTP interface."""
        return f"http://{self.api}"

    @property
    def words(self) -> tuple[str, ...]:
        """What Python is given to run it."""
        return ("-m", "api", self.command, "--api-address", str(self.api), *self.arguments)


def together(data: Path, *, api: Address, telemetry: Address, scrape: Path) -> tuple[Program, ...]:
    """Everything in one process; ``scrape`` configures what it scrapes."""
    return (Program("up", api, ("--data", str(data), *_receivers(telemetry, scrape))),)


def apart(
    data: Path, kafka: Kafka, *, api: Address, telemetry: Address, scrape: Path
) -> tuple[Program, ...]:
    """Receivers, worker and API as processes of their own; the first one that stops comes last."""
    stored = ("--data", str(data))
    receivers = _receivers(telemetry, scrape)
    health = Address(0, api.host)
    return (
        Program("serve", api, (*stored, *kafka.arguments)),
        Program("process", free_address(health), (*stored, *kafka.arguments)),
        Program("collect", free_address(health), (*kafka.arguments, *receivers)),
    )


def _receivers(telemetry: Address, scrape: Path) -> tuple[str, ...]:
    return (
        *("--otlp-grpc-address", str(telemetry)),
        *("--otlp-http-address", f"{telemetry.host}:0"),
        *("--scrape-config-file", str(scrape)),
    )


@dataclass(slots=True)
class Meshweir:
    """A running Meshweir.

    Attributes:
        url: base of its HTTP API.
        telemetry: where it takes OTLP/gRPC and Envoy's access logs.
        processes: its processes, by where each tells that it is ready.
        since: when it was started; what is asked for begins here.
    """

    url: str
    telemetry: Address
    processes: dict[str, Child]
    since: datetime
    _client: httpx.AsyncClient

    async def graph(self, group_by: str = "service") -> dict[str, Any]:
        """The graph since the start, as ``GET /v1/graph`` answers it; raises DemoFailed."""
        parameters = {"start": self.since.isoformat(), "end": "now", "group_by": group_by}
        try:
            answer = await self._client.get(f"{self.url}/v1/graph", params=parameters)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            words = self.processes[self.url].last_words()
            raise DemoFailed(
                f"GET /v1/graph failed: {error!r}; Meshweir's log says: {words}"
            ) from error
        body: dict[str, Any] = answer.json()
        return body

    def check(self) -> None:
        """Raise DemoFailed when one of its processes has ended."""
        for process in self.processes.values():
            if not process.running:
                raise DemoFailed(
                    f"Meshweir ended ({process.name}); its log says: {process.last_words()}"
                )

    async def scrapes(self) -> bool:
        """Whether it has what a first scrape of the mesh told."""
        for url in self.processes:
            answer = await self._client.get(f"{url}/metrics")
            if _SCRAPED.search(answer.text):
                return True
        return False

    async def unready(self) -> list[str]:
        """Why it does not take telemetry or answer questions yet, process by process."""
        told = [await self._unready(url, process) for url, process in self.processes.items()]
        return [reason for reason in told if reason]

    async def _unready(self, url: str, process: Child) -> str:
        try:
            answer = await self._client.get(f"{url}/readyz")
        except httpx.TransportError:
            return f"{process.name} does not listen yet; its log says: {process.last_words()}"
        if answer.status_code == 200:
            return ""
        return f"{process.name} is not ready: {answer.json().get('detail')}"


@asynccontextmanager
async def running_meshweir(
    data: Path,
    *,
    directory: Path,
    api: Address,
    telemetry: Address,
    kafka: Kafka | None = None,
) -> AsyncIterator[Meshweir]:
    """Start Meshweir and wait until it is ready; stop it at the end.

    Args:
        data: where it keeps what it stores.
        directory: for its logs, and for what it is to scrape.
        api: where its API shall listen; another port is taken when this one is in use.
        telemetry: where it shall take OTLP/gRPC; likewise.
        kafka: what lies between receivers and worker, each in a process of its own; None runs
            everything in one process.

    Raises:
        DemoFailed: it did not become ready.
    """
    api, telemetry = free_address(api), free_address(telemetry)
    scrape = write_configuration(directory)
    if kafka is None:
        programs = together(data, api=api, telemetry=telemetry, scrape=scrape)
    else:
        programs = apart(data, kafka, api=api, telemetry=telemetry, scrape=scrape)
    since = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False)
        )
        meshweir = Meshweir(f"http://{api}", telemetry, {}, since, client)
        for program in programs:
            process = await _start(program, directory)
            stack.push_async_callback(process.stop)
            meshweir.processes[program.url] = process
        await _wait_until_ready(meshweir)
        yield meshweir


async def _start(program: Program, directory: Path) -> Child:
    name = f"meshweir-{program.command}"
    return await spawn(
        name,
        Path(sys.executable),
        *program.words,
        log=directory / f"{name}.log",
        environment=_environment(),
    )


def _environment() -> dict[str, str]:
    """This process's environment without what would change Meshweir, or have it call outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    root = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))}


async def _wait_until_ready(meshweir: Meshweir) -> None:
    reasons = ["nothing was asked yet"]
    try:
        async with asyncio.timeout(START_SECONDS):
            while reasons := await meshweir.unready():
                meshweir.check()
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise DemoFailed(
            f"Meshweir was not ready after {START_SECONDS:.0f} s: {'; '.join(reasons)}"
        ) from error


def seen(graph: dict[str, Any]) -> dict[Ends, Truth]:
    """The counts of all edges of a graph, in the form of the truth."""
    return {
        Ends(edge["client"], edge["server"]): Truth(
            edge["requests"], edge["attempts"], edge["errors"]["server_error"]
        )
        for edge in graph["edges"]
    }
