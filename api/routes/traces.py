"""One trace."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api import schemas, traces
from api.context import ContextDep, FormatDep
from api.pages import Slot, encode_page
from api.parameters import PagingParameters
from api.responses import answers

router = APIRouter(prefix="/v1", tags=["traces"])

TRACE_ID: Final = r"^([0-9a-fA-F]{16}|[0-9a-fA-F]{32})$"


@router.get(
    "/traces/{trace_id}",
    summary="The spans of one trace",
    responses=answers(schemas.Trace, "The spans, by start time.", 404),
)
async def read_trace(
    context: ContextDep,
    form: FormatDep,
    trace_id: Annotated[
        str,
        Path(
            description="32 hexadecimal digits; of 16, the rest is taken as zeros in front.",
            pattern=TRACE_ID,
            examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
        ),
    ],
    asked: Annotated[PagingParameters, Query()],
) -> Response:
    """Every span received of a trace, with all its attributes, events and links."""
    whole = trace_id.lower().rjust(32, "0")
    slot = Slot(asked.at(f"traces/{whole}"), asked.limit, form)

    def make() -> bytes:
        spans = traces.spans_of(context.store, whole)
        return encode_page({"trace_id": whole}, spans, slot, nested=traces.JSON_COLUMNS)

    return await context.respond(slot, make, form)
