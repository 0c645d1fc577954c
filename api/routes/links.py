"""Who probably called."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import identity_schemas, links
from api.context import ContextDep, FormatDep
from api.pages import Slot, encode_page
from api.parameters import PageParameters
from api.responses import answers

router = APIRouter(prefix="/v1", tags=["graph"])


@router.get(
    "/links",
    summary="Probable callers of requests whose access logs carry no id",
    responses=answers(identity_schemas.Links, "Callers and services, with how sure that is."),
)
async def read_links(
    context: ContextDep, form: FormatDep, asked: Annotated[PageParameters, Query()]
) -> Response:
    """Requests whose caller nothing tells, linked by time with calls that lie around them.

    These are inferences and no part of the graph, which counts such requests under `clients`.
    """
    slot = Slot(asked.page("links", context.clock()), asked.limit, form)

    def make() -> bytes:
        found = links.links(context.store, slot.at.window, context.aliases)
        head: dict[str, object] = {"entries": found.entries, "complete": found.complete}
        return encode_page(head, found.items, slot)

    return await context.respond(slot, make, form)
