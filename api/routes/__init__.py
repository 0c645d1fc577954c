"""One file per noun of the HTTP interface."""

from typing import Final

from fastapi import APIRouter

from api.routes import (
    edges,
    graph,
    health,
    identities,
    ingest,
    links,
    quarantine,
    recommendations,
    scrape,
    services,
    traces,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    health.router,
    graph.router,
    services.router,
    edges.router,
    traces.router,
    recommendations.router,
    ingest.router,
    quarantine.router,
    scrape.router,
    identities.router,
    links.router,
)
"""All routes, in the order of the documentation."""

HEALTH_ROUTERS: Final[tuple[APIRouter, ...]] = (health.router, ingest.router, scrape.router)
"""Routes of processes that answer no questions about the mesh."""
