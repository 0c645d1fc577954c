"""The demo's mesh, declared once: what runs, who calls whom, and what a true count of it is.

Configurations, services, load and the end-to-end test all derive from ``MESH``. Whether a request
fails, and which version serves it, follows from the request itself, so that the numbers of every
edge can be computed from what the load generator counted, without looking at any telemetry.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

CONSUMER_HEADER: Final = "x-consumer"
"""Request header that names the consumer; services pass it on."""

NUMBER_HEADER: Final = "x-demo-number"
"""Request header with the number of the request on its route, from 1; services pass it on."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a service makes while it serves an endpoint."""

    service: str
    path: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of a service, and the calls it makes, in order and always all of them."""

    path: str
    calls: tuple[Call, ...] = ()
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Version:
    """One deployment of a service; it serves ``consumers``, or all who are not served elsewhere."""

    name: str
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failures:
    """Which requests a service answers with 503, by their number on their route.

    Attributes:
        once: the first attempt of every so-many-th request fails, a second succeeds.
        lasting: every attempt of every so-many-th request fails.
    """

    once: int
    lasting: int

    def fails(self, number: int, attempt: int) -> bool:
        """Whether attempt ``attempt`` (from 1) of request ``number`` is answered with 503."""
        return number % self.lasting == 0 or (attempt == 1 and number % self.once == 0)

    @property
    def period(self) -> int:
        """After so many requests the pattern begins anew."""
        return math.lcm(self.once, self.lasting)


@dataclass(frozen=True, slots=True)
class Service:
    """One service behind its own sidecar (one for each version).

    Attributes:
        name: its name; ``namespace/name`` is its node in the graph.
        endpoints: what it answers to.
        versions: its deployments; at most one serves everybody not named elsewhere.
        latency_seconds: how long it works before it answers.
        failures: which requests it fails; None when it never does.
        retries: how often the caller's sidecar tries again after a 5xx.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    versions: tuple[Version, ...] = (Version("v1"),)
    latency_seconds: float = 0.002
    failures: Failures | None = None
    retries: int = 0

    def endpoint(self, path: str) -> Endpoint:
        """The endpoint at ``path``; KeyError when there is none."""
        for endpoint in self.endpoints:
            if endpoint.path == path:
                return endpoint
        raise KeyError(path)

    def version_for(self, consumer: str) -> Version:
        """The version that serves ``consumer``."""
        for version in self.versions:
            if consumer in version.consumers:
                return version
        return next(version for version in self.versions if not version.consumers)


@dataclass(frozen=True, slots=True)
class Consumer:
    """One consumer of the gateway: its rate, and the paths it asks for, over and over."""

    name: str
    requests_per_second: float
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mesh:
    """A gateway, the service behind it, all services, and who asks."""

    namespace: str
    trust_domain: str
    gateway: str
    entry: str
    services: tuple[Service, ...]
    consumers: tuple[Consumer, ...]

    def service(self, name: str) -> Service:
        """The service called ``name``; KeyError when there is none."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def instances(self) -> Iterator[tuple[Service, Version]]:
        """Every service in every version: what has a process and a sidecar of its own."""
        for service in self.services:
            for version in service.versions:
                yield service, version

    def callees(self, service: Service) -> tuple[Service, ...]:
        """The services that ``service`` calls, each once, in the order of declaration."""
        called = {call.service for endpoint in service.endpoints for call in endpoint.calls}
        return tuple(other for other in self.services if other.name in called)

    @property
    def period(self) -> int:
        """After so many requests of a route everything happens as before."""
        return math.lcm(*(service.failures.period for service in self.services if service.failures))

    def node(self, name: str) -> str:
        """The id of a service's node in the graph."""
        return f"{self.namespace}/{name}"

    def spiffe(self, name: str) -> str:
        """The identity in a service's certificates."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{name}"


MESH: Final = Mesh(
    namespace="shop",
    trust_domain="demo.meshweir",
    gateway="edge-gateway",
    entry="frontend",
    services=(
        Service(
            "frontend",
            (
                Endpoint("/products", (Call("catalog", "/items"), Call("recommendation", "/for"))),
                Endpoint("/basket", (Call("cart", "/basket"),)),
                Endpoint("/checkout", (Call("orders", "/orders"),), method="POST"),
            ),
        ),
        Service("catalog", (Endpoint("/items"),), (Version("v1"), Version("v2", ("mobile",)))),
        Service(
            "recommendation",
            (Endpoint("/for", (Call("catalog", "/items"),)),),
            latency_seconds=0.15,
        ),
        Service("cart", (Endpoint("/basket", (Call("catalog", "/items"),)),)),
        Service(
            "orders",
            (
                Endpoint(
                    "/orders", (Call("cart", "/basket"), Call("payment", "/charges")), method="POST"
                ),
            ),
        ),
        Service(
            "payment",
            (Endpoint("/charges", method="POST"),),
            latency_seconds=0.01,
            failures=Failures(once=4, lasting=10),
            retries=1,
        ),
    ),
    consumers=(
        Consumer("web", 14.0, ("/products", "/basket", "/products", "/checkout")),
        Consumer("mobile", 6.0, ("/products", "/checkout", "/basket")),
    ),
)
"""The mesh that `meshweir demo` runs."""


class Asked(NamedTuple):
    """What the load generator counts by: who asked for what, and what fate it met.

    ``number`` is the number of the request on its path, modulo ``Mesh.period``.
    """

    consumer: str
    path: str
    number: int


class Ends(NamedTuple):
    """The two ends of an edge: node ids, ``clients`` for whoever stands before the gateway."""

    client: str
    server: str


@dataclass(slots=True)
class Truth:
    """The true counts of one edge: requests, attempts, and requests that ended in a 5xx."""

    requests: int = 0
    attempts: int = 0
    server_errors: int = 0


@dataclass(slots=True)
class _Walk:
    """Follows requests through the declared calls and adds up what each edge sees."""

    mesh: Mesh
    by_version: bool
    edges: dict[Ends, Truth] = field(default_factory=dict)

    def node(self, name: str, consumer: str) -> str:
        node = self.mesh.node(name)
        if not self.by_version:
            return node
        if name == self.mesh.gateway:
            return f"{node}@{GATEWAY_VERSION}"
        return f"{node}@{self.mesh.service(name).version_for(consumer).name}"

    def count(self, client: str, server: str, attempts: int, *, failed: bool) -> None:
        truth = self.edges.setdefault(Ends(client, server), Truth())
        truth.requests += 1
        truth.attempts += attempts
        truth.server_errors += failed

    def follow(self, client: str, call: Call, asked: Asked) -> bool:
        """Count a call and all calls under it; true when it ends in a 5xx."""
        service = self.mesh.service(call.service)
        node = self.node(service.name, asked.consumer)
        attempts, failed = 0, True
        while failed and attempts <= service.retries:
            attempts += 1
            failed = service.failures is not None and service.failures.fails(asked.number, attempts)
            for below in service.endpoint(call.path).calls:
                failed |= self.follow(node, below, asked)
        self.count(client, node, attempts, failed=failed)
        return failed

    def enter(self, asked: Asked) -> None:
        gateway = self.node(self.mesh.gateway, asked.consumer)
        failed = self.follow(gateway, Call(self.mesh.entry, asked.path), asked)
        self.count(CLIENTS, gateway, 1, failed=failed)


CLIENTS: Final = "clients"
"""Node from which requests enter whose caller is not known."""

GATEWAY_VERSION: Final = "v1"
"""The version that the gateway says it has."""


def truth(mesh: Mesh, asked: Mapping[Asked, int], *, by_version: bool = False) -> dict[Ends, Truth]:
    """The true counts of all edges for requests that the load generator counted.

    Args:
        mesh: the declaration.
        asked: how often each request was sent and answered.
        by_version: name nodes as the graph does with ``group_by=version``.
    """
    walk = _Walk(mesh, by_version)
    for request, times in asked.items():
        for _ in range(times):
            walk.enter(request)
    return walk.edges


def unplanned(mesh: Mesh, asked: Mapping[Asked, int], failed: int) -> int:
    """How many requests failed that should not have; of these ``truth`` cannot know.

    On a machine that is too busy a call may take longer than its caller waits.

    Args:
        mesh: the declaration.
        asked: how often each request was sent and answered.
        failed: how many of these were answered with a 5xx.
    """
    entered = (edge for (client, _), edge in truth(mesh, asked).items() if client == CLIENTS)
    return failed - sum(edge.server_errors for edge in entered)


def visits(mesh: Mesh, asked: Mapping[Asked, int]) -> Counter[tuple[str, str]]:
    """How often each (service, version) is called, attempts counted."""
    total: Counter[tuple[str, str]] = Counter()
    for ends, edge in truth(mesh, asked, by_version=True).items():
        name, _, version = ends.server.removeprefix(f"{mesh.namespace}/").partition("@")
        if name != mesh.gateway:
            total[name, version] += edge.attempts
    return total
