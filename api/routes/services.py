"""Services and their rate, errors and duration."""

from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query
from starlette.responses import Response

from api import service_schemas, services
from api.context import ContextDep, FormatDep
from api.pages import Slot, encode_page
from api.parameters import NodeId, PageParameters
from api.responses import answers
from pipeline.analyze import red

router = APIRouter(prefix="/v1", tags=["services"])


@router.get(
    "/services",
    summary="Services and gateways of a window",
    responses=answers(service_schemas.Services, "Services by id, with what they served."),
)
async def read_services(
    context: ContextDep, form: FormatDep, asked: Annotated[PageParameters, Query()]
) -> Response:
    """Every service and gateway that called or was called in the window, by id."""
    now = context.clock()
    slot = Slot(asked.page("services", now), asked.limit, form)

    def make() -> bytes:
        nodes = services.listed(context.store, slot.at.window, now=now, aliases=context.aliases)
        return encode_page({}, nodes, slot)

    return await context.respond(slot, make, form)


@router.get(
    "/services/{service}",
    summary="Rate, errors and duration of one service, by the minute",
    responses=answers(service_schemas.Service, "The service and its minutes.", 404),
)
async def read_service(
    context: ContextDep,
    form: FormatDep,
    service: NodeId,
    asked: Annotated[PageParameters, Query()],
) -> Response:
    """The requests one node served, oldest minute first; minutes nobody told of are absent."""
    slot = Slot(asked.page(f"services/{service}", context.clock()), asked.limit, form)

    def make() -> bytes:
        rows = services.minutes_of(context.store, service, slot.at.window)
        return encode_page(_identity(service, rows), services.series_as_answered(rows), slot)

    return await context.respond(slot, make, form)


@router.get(
    "/services/{service}/routes",
    summary="Rate, errors and duration of one service, by the route",
    responses=answers(service_schemas.ServiceRoutes, "The service and its routes.", 404),
)
async def read_service_routes(
    context: ContextDep,
    form: FormatDep,
    service: NodeId,
    asked: Annotated[PageParameters, Query()],
) -> Response:
    """The requests one node served in the window, the busiest route first."""
    slot = Slot(asked.page(f"services/{service}/routes", context.clock()), asked.limit, form)

    def make() -> bytes:
        window = slot.at.window
        rows = services.minutes_of(context.store, service, window)
        items = services.routes_as_answered(rows, window)
        return encode_page(_identity(service, rows), items, slot)

    return await context.respond(slot, make, form)


def _identity(service: str, rows: pl.DataFrame) -> dict[str, object]:
    chosen = red.choose(rows)
    namespace, slash, name = service.partition("/")
    return {
        "id": service,
        "kind": rows["kind"].drop_nulls().sort().first(),
        "namespace": namespace if slash else None,
        "name": name if slash else service,
        "reporter": None if chosen is None else chosen.reporter,
    }
