"""Kubernetes discovery: pods are listed once and then watched; what changes is told.

While the API does not answer, the pods that are known stay. When it does not remember the version
that a watch is to go on from (410 Gone), they are listed anew, and those that are not there any
more are gone.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from collectors.room import Room
from collectors.scrape.config import KubernetesSd
from collectors.scrape.discovery import Tell, Trouble
from collectors.scrape.fetch import BROKEN, FetchFailed
from collectors.scrape.pod_api import PodApi, in_cluster, own_namespace
from collectors.scrape.pods import conventional, found_in
from collectors.scrape.target import Found
from pipeline.errors import MeshweirError

_LONGEST_PAUSE_SECONDS: Final = 60.0
_GONE: Final = 410

Json = Mapping[str, Any]


class KubernetesDiscovery:
    """The pods of a cluster, or of some of its namespaces.

    Args:
        config: which API, namespaces and pods.
        room: for what the API answers.
        by_convention: whether targets are chosen by customary annotations and ports; else each
            port of each pod is one, and rules choose.
        first_pause: seconds until the API is asked again after it failed, doubled each time.

    Raises:
        InvalidInput: there is no cluster around us, and no API is named.
    """

    def __init__(
        self, config: KubernetesSd, room: Room, *, by_convention: bool, first_pause: float = 1.0
    ) -> None:
        named = config.namespaces
        own = (own_namespace(),) if named.own_namespace else ()
        self._namespaces = tuple(dict.fromkeys((*own, *named.names))) or ("",)
        self._config = config if config.api_server else in_cluster(config)
        self._room = room
        self._by_convention = by_convention
        self._first_pause = first_pause

    async def run(self, tell: Tell) -> None:
        """Tell pods as they come, change and go; each is a source."""
        # a list may be asked for while a watch is open
        api = PodApi(self._config, self._room, connections=2 * len(self._namespaces))
        try:
            async with asyncio.TaskGroup() as group:
                for namespace in self._namespaces:
                    watch = _Watch(api, namespace, self._found, tell)
                    group.create_task(watch.run(self._first_pause))
        finally:
            await api.close()

    def _found(self, pod: Json) -> list[Found]:
        found = found_in(pod)
        return conventional(found) if self._by_convention else found


class _Watch:
    """One namespace, or all of them together."""

    def __init__(
        self, api: PodApi, namespace: str, found: Callable[[Json], list[Found]], tell: Tell
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._found = found
        self._tell = tell
        self._known: set[str] = set()
        self._version = ""
        self._trouble = Trouble(f"pods of {namespace or 'all namespaces'}")

    async def run(self, first_pause: float) -> None:
        """List and watch, for ever."""
        pause = first_pause
        while True:
            try:
                await self._follow()
                pause = first_pause
            except FetchFailed as problem:
                if problem.status == _GONE:
                    self._version = ""
                elif problem.reason != BROKEN:
                    # that a watch breaks off is its usual end wherever something stands between
                    self._trouble.say(problem)
            except MeshweirError as problem:
                self._trouble.say(problem)
            # many collectors that lost one API must not come back at the same moment
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        """One watch to its end, after a list where no version is known."""
        if not self._version:
            await self._list()
            self._trouble.over()
        async with aclosing(self._api.watch(self._namespace, self._version)) as events:
            async for event in events:
                self._trouble.over()
                self._happened(event)

    async def _list(self) -> None:
        here: set[str] = set()
        version = ""
        async for page in self._api.pages(self._namespace):
            version = str(page["metadata"]["resourceVersion"])
            here.update(self._is_there(pod) for pod in page.get("items") or ())
        for gone in self._known - here:
            self._is_gone(gone)
        self._version = version

    def _happened(self, event: Json) -> None:
        """Take one event in; a bookmark has nothing but the version."""
        pod = event["object"]
        self._version = str(pod["metadata"]["resourceVersion"])
        if event.get("type") == "DELETED":
            self._is_gone(_name(pod))
        elif event.get("type") != "BOOKMARK":
            self._is_there(pod)

    def _is_there(self, pod: Json) -> str:
        name = _name(pod)
        found = self._found(pod)
        if found:
            self._known.add(name)
            self._tell(name, found)
        else:
            self._is_gone(name)
        return name

    def _is_gone(self, name: str) -> None:
        if name in self._known:
            self._known.remove(name)
            self._tell(name, ())


def _name(pod: Json) -> str:
    metadata = pod["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
