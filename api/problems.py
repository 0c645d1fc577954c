"""Errors as RFC 9457 problem documents, translated here and nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.settings import hint
from pipeline.errors import InvalidInput, MeshweirError, Transient

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:meshweir:problem:"
LONGEST_ECHO: Final = 200
"""Characters of a given value that are repeated in an answer."""


class NotFound(MeshweirError):
    """Something asked for by name that is not there.

    Attributes:
        field: the parameter that named it.
        found: the name given.
        allowed: what there is, in words.
    """

    def __init__(self, what: str, *, field: str, found: str, allowed: str) -> None:
        self.what = what
        self.field = field
        self.found = found
        self.allowed = allowed
        super().__init__(f"there is no {what} {found!r}; allowed: {allowed}")


class NotAcceptable(MeshweirError):
    """None of the media types the client accepts can be had."""


class Unready(Transient):
    """The process does not serve yet, or no longer; the message says why."""


def problem(
    status: int,
    *,
    kind: str = "about:blank",
    title: str = "",
    detail: str = "",
    errors: Sequence[Mapping[str, object]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One problem document.

    Args:
        status: HTTP status.
        kind: last word of the problem's type, or ``about:blank``.
        title: the same for every problem of the kind; the status' phrase when empty.
        detail: what happened here and what to do next.
        errors: for each field at fault ``field``, ``found`` and ``allowed``.
        headers: further headers.
    """
    body: dict[str, object] = {
        "type": kind if kind == "about:blank" else URN + kind,
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""
    app.add_exception_handler(InvalidInput, _invalid)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(NotAcceptable, _not_acceptable)
    app.add_exception_handler(Transient, _transient)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


def _echo(value: object) -> object:
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    text = str(value)
    return text if len(text) <= LONGEST_ECHO else text[:LONGEST_ECHO] + "…"


def _fault(field: str, found: object, allowed: str) -> dict[str, object]:
    return {"field": field, "found": _echo(found), "allowed": allowed}


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidInput)  # noqa: S101 - Starlette dispatches by class
    return _invalid_input([_fault(error.field, error.found, error.allowed)])


def _invalid_input(errors: list[dict[str, object]]) -> Response:
    detail = "; ".join(
        f"{fault['field']}: found {fault['found']!r}, allowed: {fault['allowed']}"
        for fault in errors
    )
    return problem(
        400, kind="invalid-input", title="A value is not allowed", detail=detail, errors=errors
    )


async def _not_found(_: Request, error: Exception) -> Response:
    assert isinstance(error, NotFound)  # noqa: S101 - Starlette dispatches by class
    return problem(
        404,
        kind="not-found",
        title="There is no such thing",
        detail=f"there is no {error.what} {_echo(error.found)!r}; allowed: {error.allowed}",
        errors=[_fault(error.field, error.found, error.allowed)],
    )


async def _not_acceptable(_: Request, error: Exception) -> Response:
    return problem(406, detail=str(error))


async def _transient(_: Request, error: Exception) -> Response:
    assert isinstance(error, Transient)  # noqa: S101 - Starlette dispatches by class
    seconds = max(1, round(error.retry_after))
    return problem(
        503,
        kind="try-again",
        title="Not possible just now",
        detail=f"{error}; try again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - Starlette dispatches by class
    known = sorted(_parameters(request.scope["route"].dependant))
    return _invalid_input([_from_pydantic(one, known) for one in error.errors()])


def _from_pydantic(error: Mapping[str, Any], known: Sequence[str]) -> dict[str, object]:
    field = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        allowed = hint(field, known) if known else "no parameters"
    else:
        allowed = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return _fault(field, error.get("input"), allowed)


def _parameters(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from model.model_fields
        else:
            yield parameter.alias
    for inner in dependant.dependencies:
        yield from _parameters(inner)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette dispatches by class
    detail = error.detail
    if error.status_code == 404:
        detail = (
            f"there is nothing at {_echo(request.url.path)}; /openapi.json lists what there is, "
            "and a / inside an id is written %2F"
        )
    elif error.status_code == 405:
        detail = f"{request.method} is not possible here"
    return problem(error.status_code, detail=detail, headers=error.headers)


async def _unforeseen(_: Request, error: Exception) -> Response:  # noqa: ARG001 - never shown
    return problem(
        500,
        detail="Meshweir failed at this request; its log on stderr says at what. Please report it.",
    )
