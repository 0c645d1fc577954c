"""Whether the process lives and serves, and its metrics."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, Response

from api.context import HealthDep
from api.metrics import MEDIA_TYPE, exposition
from api.parameters import NoParameters
from api.problems import problem
from api.responses import problems

router = APIRouter(tags=["health"])

_TEXT: Final = {"content": {"text/plain": {"schema": {"type": "string"}, "example": "ok\n"}}}


@router.get(
    "/livez",
    summary="Is the process alive?",
    response_class=PlainTextResponse,
    responses={200: _TEXT | {"description": "It answers."}, **problems(400)},
)
async def livez(_: Annotated[NoParameters, Query()]) -> Response:
    """Answers 200 as long as the process can answer at all; needs no token."""
    return PlainTextResponse("ok\n")


@router.get(
    "/readyz",
    summary="Does it accept telemetry and answer questions?",
    response_class=PlainTextResponse,
    responses={200: _TEXT | {"description": "It does."}, **problems(400, 503)},
)
async def readyz(context: HealthDep, _: Annotated[NoParameters, Query()]) -> Response:
    """Answers 503 with the reason before everything is open and while it stops; needs no token."""
    reason = context.unready()
    if reason is not None:
        return problem(503, kind="unready", title="Not ready", detail=reason)
    return PlainTextResponse("ok\n")


@router.get(
    "/metrics",
    summary="Metrics in the Prometheus text format",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "Counters of ingest, lag, bytes on the bus, watermarks, the process.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems(400, 401),
    },
)
async def metrics(context: HealthDep, _: Annotated[NoParameters, Query()]) -> Response:
    """What Prometheus scrapes; `docs/api.md` lists the names."""
    return Response(await exposition(context), media_type=MEDIA_TYPE)
