"""One file per noun of the HTTP interface."""

from typing import Final

from fastapi import APIRouter

from api.routes import graph, health, ingest, services, traces

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router,
    graph.router,
    services.router,
    traces.router,
    ingest.router,
)
"""All routes, in the order of the documentation."""
