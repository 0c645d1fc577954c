"""What an edge of the graph rests on."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import evidence, schemas
from api.context import ContextDep, FormatDep
from api.pages import Slot, encode_page
from api.parameters import EvidenceParameters, NodeId
from api.responses import answers

router = APIRouter(prefix="/v1", tags=["graph"])


@router.get(
    "/edges/{client}/{server}/evidence",
    summary="The raw rows behind one edge",
    responses=answers(schemas.Evidence, "The rule of pairing, its yield, and the rows.", 404),
)
async def read_evidence(
    context: ContextDep,
    form: FormatDep,
    client: NodeId,
    server: NodeId,
    asked: Annotated[EvidenceParameters, Query()],
) -> Response:
    """Every raw row that tells of the edge, with who told it and whether its other side was found.

    Spans come first, access log entries after them, each by the time of their trace or request.
    """
    slot = Slot(asked.page(f"edges/{client}/{server}", context.clock()), asked.limit, form)

    def make() -> bytes:
        edge = evidence.edge_of(context.store, client, server, slot.at.window, context.aliases)
        rows = evidence.rows_of(context.store, edge, offset=slot.at.offset, limit=slot.limit)
        head: dict[str, object] = {
            "client": client,
            "server": server,
            "pairing_rule": evidence.PAIRING_RULE,
            "tellings": edge.tellings,
            "unpaired_ratio": edge.unpaired_ratio,
            "reporters": edge.reporters(),
        }
        return encode_page(head, rows, slot, nested=evidence.NESTED, total=edge.tellings)

    return await context.respond(slot, make, form)
