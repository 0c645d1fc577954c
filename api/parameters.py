"""Query and path parameters: their names, bounds and examples; unknown names are refused."""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.pages import Cursor, read_cursor
from api.times import Window, parse_window
from pipeline.model.topology import GroupBy

DEFAULT_WINDOW: Final = timedelta(hours=1)
LONGEST_ID: Final = 1024
DEEPEST: Final = 20

_TIMES: Final = "RFC 3339, relative (`-15m`, `-1h`, `-7d`, `now`) or Unix seconds"

NodeId = Annotated[
    str,
    Path(
        description="Node id; a `/` in it is written `%2F`.",
        examples=["shop%2Fcart"],
        min_length=1,
        max_length=3 * LONGEST_ID,
    ),
    AfterValidator(unquote),
]


class NoParameters(BaseModel):
    """A route without query parameters: any is refused."""

    model_config = ConfigDict(extra="forbid")


class WindowParameters(BaseModel):
    """The window of time asked for."""

    model_config = ConfigDict(extra="forbid")

    start: Annotated[str, Field(max_length=64)] | None = Field(
        default=None,
        description=f"Begin of the window, inclusive: {_TIMES}. Rounded down to a whole minute. "
        "An hour before `end` when missing.",
        examples=["-1h"],
    )
    end: Annotated[str, Field(max_length=64)] | None = Field(
        default=None,
        description=f"End of the window, exclusive: {_TIMES}. Rounded up to a whole minute. "
        "Now when missing.",
        examples=["now"],
    )

    def window(self, now: datetime) -> Window:
        """The window in whole minutes; raises InvalidInput."""
        return parse_window(self.start, self.end, now=now, default=DEFAULT_WINDOW)


class GraphParameters(WindowParameters):
    """What part of the graph, and how it is grouped."""

    group_by: GroupBy = Field(
        default=GroupBy.SERVICE, description="What a node stands for.", examples=["service"]
    )
    focus: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)] | None = Field(
        default=None,
        description="Id of a node: only what is within `depth` calls of it is answered.",
        examples=["shop/cart"],
    )
    depth: Annotated[int, Field(ge=1, le=DEEPEST)] = Field(
        default=1, description="Calls to go from `focus`, in both directions."
    )
    part: Literal["nodes", "edges"] = Field(
        default="edges", description="Which table an Arrow stream carries; JSON carries both."
    )


class PagingParameters(BaseModel):
    """A page of a list that has no window."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1000, description="Items to answer at most."
    )
    cursor: Annotated[str, Field(min_length=1, max_length=8192)] | None = Field(
        default=None, description="The value of `next` of the page before."
    )

    def at(self, query: str) -> Cursor:
        """Where this page begins; raises InvalidInput."""
        return Cursor(query) if self.cursor is None else read_cursor(self.cursor, query=query)


class QuarantineParameters(PagingParameters):
    """A page of what was set aside."""

    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)] | None = Field(
        default=None,
        description="Only what was set aside for this reason.",
        examples=["unknown format"],
    )
    id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)] | None = Field(
        default=None,
        description="Only this entry, or all entries of this message.",
        examples=["otlp_spans/0/42"],
    )
    payload: bool = Field(
        default=False,
        description="Whether items carry what was received; a page then has 100 items at most.",
    )


class PageParameters(PagingParameters, WindowParameters):
    """A page of a list of a window."""

    def page(self, query: str, now: datetime) -> Cursor:
        """Where this page begins, and its window; raises InvalidInput."""
        if self.cursor is not None:
            return read_cursor(self.cursor, query=query)
        return Cursor(query, self.window(now))


class EvidenceParameters(PageParameters):
    """A page of raw rows."""

    limit: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=100, description="Rows to answer at most."
    )
