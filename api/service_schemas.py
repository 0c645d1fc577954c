"""Shapes of answers about services."""

from typing import Annotated

from pydantic import Field

from api.schemas import (
    Answer,
    Count,
    Errors,
    Node,
    Page,
    Quantiles,
    Ratio,
    Time,
    WindowAnswer,
)
from pipeline.model.topology import NodeKind, Reporter


class Services(Page, WindowAnswer):
    """The services and gateways of a window."""

    items: list[Node]


class Served(Answer):
    """Rate, errors and duration of what a service served."""

    requests: Count = Field(examples=[60])
    requests_per_second: Annotated[float, Field(ge=0)] = Field(examples=[1.0])
    error_ratio: Ratio | None = Field(examples=[0.01])
    errors: Errors
    latency_seconds: Quantiles


class ServiceMinute(Served):
    """One minute of one service."""

    time: Time = Field(description="Start of the minute.")


class ServiceRoute(Served):
    """One route of one service."""

    route: str | None = Field(
        description="Method and route template, or the RPC method; null where none is known.",
        examples=["GET /users/{id}"],
    )


class OneService(Page, WindowAnswer):
    """A service."""

    id: str = Field(examples=["shop/cart"])
    kind: NodeKind
    namespace: str | None = Field(examples=["shop"])
    name: str = Field(examples=["cart"])
    reporter: Reporter | None = Field(description="Who gives the counts of the whole window.")


class Service(OneService):
    """A service and its series of minutes; a minute nobody told of is absent."""

    items: list[ServiceMinute]


class ServiceRoutes(OneService):
    """A service and its routes, the busiest first."""

    items: list[ServiceRoute]
