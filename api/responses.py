"""Parts of the OpenAPI document that routes share."""

from typing import Any, Final

from pydantic import BaseModel

from api.encode import ARROW, JSON
from api.problems import MEDIA_TYPE, URN
from api.schemas import Problem

Responses = dict[int | str, dict[str, Any]]

_WHEN: Final = {
    400: "A parameter is not allowed; `errors` names it.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such thing in the window.",
    406: "Neither JSON nor an Arrow stream is accepted.",
    503: "Not possible just now; `Retry-After` says when to come back.",
}
_EXAMPLE: Final = {
    "type": URN + "invalid-input",
    "title": "A value is not allowed",
    "status": 400,
    "detail": "start: found 'yesterday', allowed: RFC 3339, relative or Unix seconds",
    "errors": [
        {
            "field": "start",
            "found": "yesterday",
            "allowed": "RFC 3339, relative or Unix seconds",
        }
    ],
}


def problems(*statuses: int) -> Responses:
    """The documented error answers of a route."""
    return {
        status: {
            "description": _WHEN[status],
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": f"#/components/schemas/{Problem.__name__}"},
                    **({"example": _EXAMPLE} if status == 400 else {}),
                }
            },
        }
        for status in statuses
    }


def answers(model: type[BaseModel], description: str, *statuses: int) -> Responses:
    """The documented answers of a list or graph route: JSON, an Arrow stream, and problems."""
    return {
        200: {
            "model": model,
            "description": description,
            "content": {JSON: {}, ARROW: {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(400, 401, *statuses, 406, 503),
    }
