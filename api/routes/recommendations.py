"""What could be set better."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import recommendations, schemas
from api.context import ContextDep, FormatDep
from api.pages import Slot, encode_page
from api.parameters import PageParameters
from api.responses import answers

router = APIRouter(prefix="/v1", tags=["recommendations"])


@router.get(
    "/recommendations",
    summary="What could be set better, and why",
    responses=answers(schemas.Recommendations, "Advice, by rule and target."),
)
async def read_recommendations(
    context: ContextDep, form: FormatDep, asked: Annotated[PageParameters, Query()]
) -> Response:
    """Advice that the window's history supports, rendered for each control plane.

    Nothing is applied by itself. A longer window gives more evidence, and more confidence.
    """
    slot = Slot(asked.page("recommendations", context.clock()), asked.limit, form)

    def make() -> bytes:
        items = recommendations.advised(context.store, slot.at.window, context.aliases)
        return encode_page({}, items, slot, nested=recommendations.NESTED)

    return await context.respond(slot, make, form)
