"""``meshweir graph``: the graph of a data directory, or of a running Meshweir."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from rich.console import Console

from api import graph, graph_text
from api.parameters import DEFAULT_WINDOW
from api.settings import Settings
from api.sources import client, opened
from api.times import Window, format_time, parse_time, parse_window, whole_minutes
from pipeline.errors import InvalidInput
from pipeline.model.topology import GroupBy


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags of ``meshweir graph`` say; times are not read yet."""

    start: str | None
    end: str | None
    group_by: GroupBy
    focus: str | None
    depth: int
    now: datetime

    @classmethod
    def checked(
        cls, *, start: str | None, end: str | None, group_by: str, focus: str | None, depth: int
    ) -> "Asked":
        """The flags, with times that can be read; raises InvalidInput."""
        now = datetime.now(UTC)
        for name, text in (("start", start), ("end", end)):
            if text is not None:
                parse_time(text, now=now, field=f"--{name}")
        if start is not None:
            parse_window(start, end, now=now, default=DEFAULT_WINDOW)
        return cls(start, end, GroupBy(group_by), focus, depth, now)

    def window(self, extent: Window | None) -> Window:
        """The window asked for; what is not said is all there is."""
        if extent is None:
            return parse_window(self.start, self.end, now=self.now, default=DEFAULT_WINDOW)
        start = self._time(self.start, "start", extent.start)
        end = self._time(self.end, "end", extent.end)
        if start >= end:
            raise InvalidInput(
                "--start" if self.start is not None else "--end",
                found=self.start or self.end,
                allowed=f"a window that meets {format_time(extent.start)} to "
                f"{format_time(extent.end)}, which is all there is",
            )
        return whole_minutes(start, end)

    def _time(self, text: str | None, name: str, default: datetime) -> datetime:
        return default if text is None else parse_time(text, now=self.now, field=f"--{name}")


def from_data(settings: Settings, asked: Asked) -> bytes:
    """The body of ``GET /v1/graph``, computed from a data directory.

    Raises:
        MeshweirError: there is no such directory.
        StoreBusy: a running Meshweir holds its DuckDB file; says where that answers. Several
            processes may read DuckLake.
    """
    with opened(settings, "graph") as store:
        query = graph.GraphQuery(
            asked.window(graph.extent(store)), asked.group_by, asked.focus, asked.depth
        )
        return graph.answer(
            store, query, now=asked.now, aliases=settings.identity.configured()
        ).json()


def from_url(url: str, token: str | None, asked: Asked) -> bytes:
    """The body of ``GET /v1/graph`` of a running Meshweir.

    Raises:
        MeshweirError: it does not answer, or refuses.
    """
    get = client(url, token)
    stored = orjson.loads(get("/v1/ingest", {}))["stored"]
    extent = stored and Window(*(datetime.fromisoformat(stored[end]) for end in ("start", "end")))
    window = asked.window(extent)
    parameters = {
        "start": format_time(window.start),
        "end": format_time(window.end),
        "group_by": asked.group_by.value,
    }
    if asked.focus is not None:
        parameters |= {"focus": asked.focus, "depth": str(asked.depth)}
    return get("/v1/graph", parameters)


def show(body: bytes, form: str) -> None:
    """Write a graph to stdout; ``json`` is the body as it is."""
    if form == "json":
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    told = orjson.loads(body)
    if form == "mermaid":
        sys.stdout.write(graph_text.mermaid(told))
    elif form == "dot":
        sys.stdout.write(graph_text.dot(told))
    else:
        graph_text.table(told, Console(file=sys.stdout))
