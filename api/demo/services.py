"""The demo's services: small, honest, all in this process, told apart by the port they listen on.

Each answers an endpoint by making the declared calls through its own sidecar, then works for its
latency, then answers 200, or 503 when it is a request that it fails or when one of its calls did.
They pass headers on, as applications in a mesh must, and trace what they serve and call.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from api.demo.envoy import Sidecar, authority
from api.demo.mesh import CONSUMER_HEADER, NUMBER_HEADER, Call, Mesh, Service
from api.demo.tracing import Tracing, answered

PASSED_ON: Final = (
    b"x-request-id",
    CONSUMER_HEADER.encode(),
    NUMBER_HEADER.encode(),
)
"""Headers that a service copies from its request to its calls; tracing adds its own."""

ATTEMPT_HEADER: Final = b"x-envoy-attempt-count"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Services:
    """An ASGI application that is every service at once.

    Attributes:
        mesh: the declaration.
        sidecars: all instances.
        calls: sends the calls.
        tracing: tells of what is served and called.
        served: requests answered, attempts counted, by (service, version).
    """

    mesh: Mesh
    sidecars: tuple[Sidecar, ...]
    calls: httpx.AsyncClient
    tracing: Tracing
    served: Counter[tuple[str, str]] = field(default_factory=Counter)
    _ports: dict[int, Sidecar] = field(init=False)

    def __post_init__(self) -> None:
        """Index the instances by the port of their application."""
        self._ports = {place.application.port: place for place in self.sidecars}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as the service whose port it came to."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        place = self._ports[scope["server"][1]]
        status = await self._serve(place, scope)
        body = f"{place.workload} {scope['path']} {status}\n".encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _serve(self, place: Sidecar, scope: Scope) -> int:
        headers = dict(scope["headers"])
        with self.tracing.serving(place, scope["method"], scope["path"], headers) as span:
            status = await self._answer(place, scope["path"], headers)
            answered(span, status, serves=True)
        return status

    async def _answer(self, place: Sidecar, path: str, headers: Mapping[bytes, bytes]) -> int:
        try:
            endpoint = place.service.endpoint(path)
        except KeyError:
            return 404
        self.served[place.service.name, place.version.name] += 1
        passed = {name: headers[name] for name in PASSED_ON if name in headers}
        statuses = [await self._call(place, call, passed) for call in endpoint.calls]
        await asyncio.sleep(place.service.latency_seconds)
        if _fails(place.service, headers) or any(status >= 500 for status in statuses):
            return 503
        return 200

    async def _call(self, place: Sidecar, call: Call, passed: Mapping[bytes, bytes]) -> int:
        callee = self.mesh.service(call.service)
        headers = {**passed, b"host": authority(self.mesh, callee).encode()}
        method = callee.endpoint(call.path).method
        with self.tracing.calling(place, call, method, headers) as span:
            try:
                answer = await self.calls.request(
                    method, f"http://{place.outbound}{call.path}", headers=headers
                )
                status = answer.status_code
            except httpx.TransportError:
                status = 502
            answered(span, status, serves=False)
        return status


def _fails(service: Service, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the declaration says that this attempt fails; the caller's proxy numbers attempts."""
    number = headers.get(NUMBER_HEADER.encode(), b"")
    attempt = headers.get(ATTEMPT_HEADER, b"1")
    if service.failures is None or not (number.isdigit() and attempt.isdigit()):
        return False
    return service.failures.fails(int(number), int(attempt))
