"""What is scraped."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import schemas
from api.context import FormatDep, HealthDep
from api.encode import respond
from api.pages import Slot, encode_page
from api.parameters import PagingParameters
from api.responses import answers
from api.targets import targets_as_answered

router = APIRouter(prefix="/v1/scrape", tags=["ingest"])


@router.get(
    "/targets",
    summary="What is scraped, and how each target stands",
    responses=answers(schemas.ScrapeTargets, "Every target of this process."),
)
async def read_targets(
    context: HealthDep, form: FormatDep, asked: Annotated[PagingParameters, Query()]
) -> Response:
    """Targets by job and URL: whether the last scrape succeeded, when it was, and why it did not.

    Targets that discovery found and that are left alone are listed with the reason.
    """
    slot = Slot(asked.at("scrape/targets"), asked.limit, form)
    return respond(encode_page({}, targets_as_answered(context.targets()), slot), form)
