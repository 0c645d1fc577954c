"""The dependency graph."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import graph, schemas
from api.context import ContextDep, FormatDep
from api.parameters import GraphParameters
from api.responses import answers

router = APIRouter(prefix="/v1", tags=["graph"])

LAG: Final = 1.0
"""Seconds for which a graph is still given after the store changed, while the next is made."""


@router.get(
    "/graph",
    summary="Who calls whom, how often, how fast, how safely",
    responses=answers(schemas.Graph, "The graph of the window."),
)
async def read_graph(
    context: ContextDep, form: FormatDep, asked: Annotated[GraphParameters, Query()]
) -> Response:
    """The dependency graph of a window of whole minutes; without times, of the last hour.

    The counts of an edge are one reporter's, never a sum of several. As an Arrow stream, `part`
    says which of the two tables is answered.
    """
    now = context.clock()
    query = graph.GraphQuery(asked.window(now), asked.group_by, asked.focus, asked.depth)

    def make() -> bytes:
        answer = graph.answer(context.store, query, now=now, aliases=context.aliases)
        return answer.json() if form == "json" else answer.arrow(asked.part)

    key = ("graph", query, form if form == "json" else asked.part)
    return await context.respond(key, make, form, lag=LAG)
