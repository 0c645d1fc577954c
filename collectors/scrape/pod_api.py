"""The API of Kubernetes as far as pods go: lists in pages, and watches.

Sources: Kubernetes' API concepts, "Efficient detection of changes", "Watch bookmarks" and
"Retrieving large results sets in chunks".
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx2 as httpx
import orjson

from collectors.room import Room
from collectors.scrape.access import TlsConfig
from collectors.scrape.config import KubernetesSd
from collectors.scrape.fetch import Fetcher, FetchFailed
from pipeline.errors import InvalidInput

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token, the authority and the namespace of its service account."""

PAGE: Final = 500
"""Pods asked for at once."""

WATCH_SECONDS: Final = 300
"""How long the API is asked to go on with one watch."""

MAX_PAGE_BYTES: Final = 64 * 1024 * 1024
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""Largest line of a watch, which is a pod: etcd takes objects of 1.5 MiB."""

_PAGE_TIMEOUT_SECONDS: Final = 60.0
_SILENCE_SECONDS: Final = WATCH_SECONDS + 30.0
_HEADERS: Final = {"accept": "application/json", "user-agent": "Meshweir"}

Json = Mapping[str, Any]


class PodApi:
    """Asks one API server for pods.

    Args:
        config: which server (it must be named), which pods, and how to speak to it.
        room: for what it answers.
        connections: how many may be open at once.
    """

    def __init__(self, config: KubernetesSd, room: Room, *, connections: int) -> None:
        self._config = config
        self._room = room
        self._fetcher = Fetcher(
            self._config, max_body_bytes=MAX_PAGE_BYTES, connections=connections
        )

    async def pages(self, namespace: str) -> AsyncGenerator[Json, None]:
        """All pods of a namespace, or of all when it is empty, page by page.

        Each page says in ``metadata.resourceVersion`` from which version to watch.

        Raises:
            FetchFailed: the server does not answer; status 410 when it forgot, half-way, what the
                first page was of.
            NoRoom: there is no room for the answer.
        """
        following = ""
        while True:
            parameters = {"limit": str(PAGE), **({"continue": following} if following else {})}
            with self._room.claim() as claim:
                answer = await self._fetcher.get(
                    self._url(namespace, parameters), _HEADERS, claim, seconds=_PAGE_TIMEOUT_SECONDS
                )
                page = _versioned(_object(answer.body))
            yield page
            following = page["metadata"].get("continue", "")
            if not following:
                return

    async def watch(self, namespace: str, version: str) -> AsyncGenerator[Json, None]:
        """Every change after a version, with bookmarks, until the server ends the watch.

        Each has ``type`` and ``object``, with ``metadata.resourceVersion``.

        Raises:
            FetchFailed: the server does not answer, or what it answers is not understood; status
                410 when it does not remember the version.
        """
        parameters = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        url = self._url(namespace, parameters)
        try:
            async with (
                asyncio.timeout(_SILENCE_SECONDS),
                self._fetcher.opened(url, _HEADERS | {"accept-encoding": "identity"}) as response,
            ):
                async for line in _lines(response):
                    event = _object(line)
                    if event.get("type") == "ERROR":
                        raise _told(event)
                    if isinstance(event.get("object"), dict):
                        _versioned(event["object"])
                        yield event
        except TimeoutError:
            raise FetchFailed("the watch was not ended in time", reason="timeout") from None

    async def close(self) -> None:
        """Let go of all connections."""
        await self._fetcher.close()

    def _url(self, namespace: str, parameters: Mapping[str, str]) -> str:
        base = str(self._config.api_server).rstrip("/")
        place = f"namespaces/{quote(namespace, safe='')}/pods" if namespace else "pods"
        selectors = self._config.selectors
        selected = {
            "labelSelector": ",".join(one.label for one in selectors if one.label),
            "fieldSelector": ",".join(one.field for one in selectors if one.field),
        }
        query = {name: text for name, text in selected.items() if text} | dict(parameters)
        return f"{base}/api/v1/{place}?{urlencode(query)}"


def in_cluster(config: KubernetesSd, account: Path = SERVICE_ACCOUNT) -> KubernetesSd:
    """The same with the API of the cluster around us, as its service account says.

    Raises:
        InvalidInput: there is no cluster around us.
    """
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not host or not (account / "token").exists():
        raise InvalidInput(
            "api_server",
            found="",
            allowed="the URL of an API server; only inside of a cluster, in a pod with a service "
            f"account ({account}), it may be left out",
        )
    server = f"https://[{host}]:{port or 443}" if ":" in host else f"https://{host}:{port or 443}"
    return config.model_copy(
        update={
            "api_server": server,
            "bearer_token_file": account / "token",
            "tls_config": TlsConfig(ca_file=account / "ca.crt"),
        }
    )


def own_namespace(account: Path = SERVICE_ACCOUNT) -> str:
    """The namespace that this process runs in; raises InvalidInput outside of a cluster."""
    try:
        return (account / "namespace").read_text().strip()
    except OSError as problem:
        raise InvalidInput(
            "namespaces.own_namespace",
            found=True,
            allowed=f"only in a pod with a service account: {problem}",
        ) from problem


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in response.aiter_raw():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > MAX_EVENT_BYTES:
            raise FetchFailed(f"an event of more than {MAX_EVENT_BYTES} bytes", reason="too large")
    if rest.strip():
        yield rest


def _object(text: bytes) -> Json:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise FetchFailed(f"no JSON: {problem}", reason="malformed", answered=True) from problem
    if not isinstance(value, dict):
        raise FetchFailed("no JSON object", reason="malformed", answered=True)
    return value


def _versioned(value: Json) -> Json:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("resourceVersion"):
        raise FetchFailed("no resourceVersion", reason="malformed", answered=True)
    return value


def _told(event: Json) -> FetchFailed:
    """The error that an event tells, a ``Status`` of the API."""
    status = event.get("object")
    told = status if isinstance(status, dict) else {}
    code = told.get("code")
    return FetchFailed(
        f"the watch ended with {told.get('reason', 'an error')}: {told.get('message', '')}",
        reason=f"status {code}",
        answered=True,
        status=code if isinstance(code, int) else 0,
    )
