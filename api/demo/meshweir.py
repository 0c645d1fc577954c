"""Meshweir beside the mesh: ``meshweir up`` in its own process, and the questions put to it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from api.demo.envoy import Address
from api.demo.mesh import Ends, Truth
from api.demo.network import free_address
from api.demo.processes import Child, spawn
from api.demo.running import DemoFailed

START_SECONDS: Final = 90.0
"""How long Meshweir may take until it is ready; the first start compiles the decoders."""

_DROPPED: Final = ("MESHWEIR_", "OTEL_")


@dataclass(slots=True)
class Meshweir:
    """A running Meshweir.

    Attributes:
        url: base of its HTTP API.
        telemetry: where it takes OTLP/gRPC and Envoy's access logs.
        process: its process.
        since: when it was started; what is asked for begins here.
    """

    url: str
    telemetry: Address
    process: Child
    since: datetime
    _client: httpx.AsyncClient

    async def graph(self, group_by: str = "service") -> dict[str, Any]:
        """The graph since the start, as ``GET /v1/graph`` answers it; raises DemoFailed."""
        parameters = {"start": self.since.isoformat(), "end": "now", "group_by": group_by}
        try:
            answer = await self._client.get("/v1/graph", params=parameters)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise DemoFailed(
                f"GET /v1/graph failed: {error}; Meshweir's log says: {self.process.last_words()}"
            ) from error
        body: dict[str, Any] = answer.json()
        return body

    async def ready(self) -> bool:
        """Whether it takes telemetry and answers questions."""
        try:
            return (await self._client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False


@asynccontextmanager
async def running_meshweir(
    data: Path, *, directory: Path, api: Address, telemetry: Address
) -> AsyncIterator[Meshweir]:
    """Start Meshweir and wait until it is ready; stop it at the end.

    Args:
        data: where it keeps what it stores.
        directory: for its log.
        api: where its API shall listen; another port is taken when this one is in use.
        telemetry: where it shall take OTLP/gRPC; likewise.

    Raises:
        DemoFailed: it did not become ready.
    """
    api, telemetry = free_address(api), free_address(telemetry)
    since = datetime.now(UTC)
    process = await spawn(
        "meshweir",
        Path(sys.executable),
        *("-m", "api", "up", "--data", data),
        *("--api-address", str(api), "--otlp-grpc-address", str(telemetry)),
        *("--otlp-http-address", f"{api.host}:0"),
        log=directory / "meshweir.log",
        environment=_environment(),
    )
    try:
        url = f"http://{api}"
        async with httpx.AsyncClient(base_url=url, timeout=10.0, trust_env=False) as client:
            meshweir = Meshweir(url, telemetry, process, since, client)
            await _wait_until_ready(meshweir)
            yield meshweir
    finally:
        await process.stop()


def _environment() -> dict[str, str]:
    """This process's environment without what would change Meshweir, or have it call outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    root = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))}


async def _wait_until_ready(meshweir: Meshweir) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await meshweir.ready():
                if not meshweir.process.running:
                    words = meshweir.process.last_words()
                    raise DemoFailed(f"Meshweir did not start; its log says: {words}")
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        words = meshweir.process.last_words()
        raise DemoFailed(
            f"Meshweir was not ready after {START_SECONDS:.0f} s; its log says: {words}"
        ) from error


def seen(graph: dict[str, Any]) -> dict[Ends, Truth]:
    """The counts of all edges of a graph, in the form of the truth."""
    return {
        Ends(edge["client"], edge["server"]): Truth(
            edge["requests"], edge["attempts"], edge["errors"]["server_error"]
        )
        for edge in graph["edges"]
    }
