"""What was set aside."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import quarantine, schemas
from api.context import ContextDep, FormatDep
from api.encode import respond
from api.pages import Slot
from api.parameters import QuarantineParameters
from api.responses import answers

router = APIRouter(prefix="/v1", tags=["ingest"])


@router.get(
    "/quarantine",
    summary="Messages and records that could not be decoded, and why",
    responses=answers(schemas.Quarantine, "What was set aside, youngest first."),
)
async def read_quarantine(
    context: ContextDep, form: FormatDep, asked: Annotated[QuarantineParameters, Query()]
) -> Response:
    """Every message, or record of a message, that was accepted and could not be decoded.

    An id says where the message stands on the bus; `meshweir quarantine retry` decodes it again.
    """
    query = quarantine.QuarantineQuery(asked.reason, asked.id, asked.payload)
    slot = Slot(asked.at(query.key), asked.limit, form)
    body = await context.off_loop(lambda: quarantine.answer(context.store, query, slot))
    return respond(body, form)
