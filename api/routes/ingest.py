"""What came in."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import graph, schemas
from api.context import FormatDep, HealthDep
from api.encode import respond
from api.ingest import flows_as_answered, standing
from api.pages import Slot, encode_page
from api.parameters import PagingParameters
from api.responses import answers
from api.times import format_time

router = APIRouter(prefix="/v1", tags=["ingest"])


@router.get(
    "/ingest",
    summary="What came in, by source and signal, and what became of it",
    responses=answers(schemas.Ingest, "Counts of records since the process started."),
)
async def read_ingest(
    context: HealthDep, form: FormatDep, asked: Annotated[PagingParameters, Query()]
) -> Response:
    """Received, accepted, rejected, dropped, stored and quarantined records, each with reasons."""
    slot = Slot(asked.at("ingest"), asked.limit, form)
    now = await standing(context)
    store = context.store
    stored = None if store is None else await context.off_loop(lambda: graph.extent(store))
    bus = now.bus
    head: dict[str, object] = {
        "bus": bus and {"bytes_held": bus.bytes_held, "bytes_allowed": bus.bytes_allowed},
        "stored": stored and {"start": format_time(stored.start), "end": format_time(stored.end)},
    }
    return respond(encode_page(head, flows_as_answered(now), slot, nested=["reasons"]), form)
