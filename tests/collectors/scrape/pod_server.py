"""An API server of Kubernetes as far as pods go, as its reference says it answers.

Lists come in pages with ``continue``; watches are chunked lines of JSON that begin after a version,
with bookmarks; a version that was compacted is answered 410, in an event of a watch or as a status.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from tests.collectors.scrape.exposer import Asked, Exposer, answer

Json = dict[str, Any]


@dataclass
class PodServer:
    """Pods, the events since some version, and those who watch.

    Attributes:
        pods: by name.
        version: of the last change.
        oldest: versions before this one are forgotten.
        asked: parameters of each request, with its path under ``path``.
        trouble: status that every request is answered with, while it is not 0.
        gone_as_event: whether a forgotten version is told by an event, or by the status 410.
    """

    pods: dict[str, Json] = field(default_factory=dict)
    version: int = 100
    oldest: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    trouble: int = 0
    gone_as_event: bool = True
    _events: list[tuple[int, Json]] = field(default_factory=list)
    _watching: set[asyncio.StreamWriter] = field(default_factory=set)

    def put(self, pod: Json) -> None:
        """Add a pod, or change it."""
        name = pod["metadata"]["name"]
        self._happen("MODIFIED" if name in self.pods else "ADDED", pod)
        self.pods[name] = pod

    def delete(self, name: str) -> None:
        """Delete a pod."""
        self._happen("DELETED", self.pods.pop(name))

    def bookmark(self) -> None:
        """Tell watches how far the version is, after changes elsewhere."""
        self.version += 50
        mark = {"kind": "Pod", "apiVersion": "v1", "metadata": {}}
        self._tell({"type": "BOOKMARK", "object": self._versioned(mark)})

    def forget(self) -> None:
        """Compact: no watch can begin before now."""
        self.oldest = self.version

    def hang_up(self) -> None:
        """Break off all watches."""
        for writer in self._watching:
            writer.transport.abort()

    def serve_on(self, exposer: Exposer, *namespaces: str) -> None:
        """Answer on a server."""
        for path in ("/api/v1/pods", *(f"/api/v1/namespaces/{one}/pods" for one in namespaces)):
            exposer.answers[path] = self._answer

    @property
    def watches(self) -> list[dict[str, str]]:
        """Requests that were watches."""
        return [one for one in self.asked if "watch" in one]

    @property
    def lists(self) -> list[dict[str, str]]:
        """Requests that were lists."""
        return [one for one in self.asked if "watch" not in one]

    def _versioned(self, thing: Json) -> Json:
        return thing | {"metadata": thing["metadata"] | {"resourceVersion": str(self.version)}}

    def _happen(self, kind: str, pod: Json) -> None:
        self.version += 1
        event = {"type": kind, "object": self._versioned(pod)}
        self._events.append((self.version, event))
        self._tell(event)

    def _tell(self, event: Json) -> None:
        for writer in self._watching:
            _chunk(writer, orjson.dumps(event) + b"\n")

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(asked.path)
        told = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(told | {"path": parts.path})
        if self.trouble:
            await answer(b"{}", status=self.trouble)(asked, writer)
        elif "watch" in told:
            await self._watch(int(told["resourceVersion"]), asked, writer)
        else:
            await self._list(told, asked, writer)

    async def _list(self, told: dict[str, str], asked: Asked, writer: asyncio.StreamWriter) -> None:
        begin, limit = int(told.get("continue", "0")), int(told["limit"])
        pods = list(self.pods.values())
        more = {"continue": str(begin + limit)} if begin + limit < len(pods) else {}
        page = {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(self.version), **more},
            "items": pods[begin : begin + limit],
        }
        await answer(orjson.dumps(page), content_type="application/json")(asked, writer)

    async def _watch(self, since: int, asked: Asked, writer: asyncio.StreamWriter) -> None:
        gone = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": f"too old resource version: {since} ({self.oldest})",
            "reason": "Expired", "code": 410,
        }  # fmt: skip
        if since < self.oldest and not self.gone_as_event:
            body = orjson.dumps(gone)
            await answer(body, status=410, content_type="application/json")(asked, writer)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        if since < self.oldest:
            _chunk(writer, orjson.dumps({"type": "ERROR", "object": gone}) + b"\n")
            writer.write(b"0\r\n\r\n")
            return
        for version, event in self._events:
            if version > since:
                _chunk(writer, orjson.dumps(event) + b"\n")
        self._watching.add(writer)
        try:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        finally:
            self._watching.discard(writer)


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write a chunk in two, so that lines do not come whole."""
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
