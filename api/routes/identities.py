"""Who names stand for."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import identities, identity_schemas
from api.context import ContextDep, FormatDep
from api.pages import Slot, encode_page
from api.parameters import PageParameters
from api.responses import answers

router = APIRouter(prefix="/v1", tags=["graph"])


@router.get(
    "/identities/conflicts",
    summary="Names and addresses that stood for more than one service",
    responses=answers(identity_schemas.Conflicts, "Conflicts, the most ambiguous first."),
)
async def read_conflicts(
    context: ContextDep, form: FormatDep, asked: Annotated[PageParameters, Query()]
) -> Response:
    """Aliases under which more than one node was seen, in telemetry that arrived in the window.

    Calls that only an alias names are counted for the node that was seen most under it. A setting,
    `identity_aliases`, says which one is meant.
    """
    slot = Slot(asked.page("identities/conflicts", context.clock()), asked.limit, form)

    def make() -> bytes:
        found = identities.conflicts(context.store, slot.at.window, context.aliases)
        return encode_page({}, found, slot)

    return await context.respond(slot, make, form)
