"""The HTTP application: routes, errors and middleware put together; nothing happens at import."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware

from api import problems, schemas
from api.context import Context, HealthContext
from api.middleware import BearerToken, EncodedSlashes
from api.routes import HEALTH_ROUTERS, ROUTERS

DESCRIPTION = """
The traffic of service meshes and gateways as one dependency graph, its evidence, and advice.

Times are RFC 3339, relative (`-15m`, `-1h`, `-7d`, `now`) or Unix seconds; windows are whole
minutes. Durations are seconds, ratios 0..1; an unknown is null, never 0. A `/` in an id is written
`%2F` in paths. Errors are RFC 9457 problem documents. Every list and graph route answers an Arrow
stream on `Accept: application/vnd.apache.arrow.stream`.
"""


class Application(FastAPI):
    """FastAPI with an OpenAPI document that says what is answered, errors included."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            self.openapi_schema = _completed(document, guarded=self.state.guarded)
        return self.openapi_schema


def create_app(
    context: HealthContext,
    *,
    token: str | None = None,
    middleware: list[Middleware] | None = None,
) -> FastAPI:
    """Build the application: all routes for a ``Context``, else those of health and ingest.

    Args:
        context: what handlers work with.
        token: bearer token that requests must carry; None asks for none.
        middleware: what requests pass before anything else, such as self-observation.
    """
    app = Application(
        title="Meshweir",
        version=context.version,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            *(middleware or []),
            Middleware(EncodedSlashes),
            Middleware(BearerToken, token=token),
        ],
    )
    app.state.context = context
    problems.install(app)
    for router in ROUTERS if isinstance(context, Context) else HEALTH_ROUTERS:
        app.include_router(router)
    app.state.guarded = token is not None
    return app


def _completed(document: dict[str, Any], *, guarded: bool) -> dict[str, Any]:
    components = document.setdefault("components", {})
    models = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        models.pop(name, None)
    problem = schemas.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    models.update(problem.pop("$defs"))
    models[schemas.Problem.__name__] = problem
    for path in document["paths"].values():
        for operation in path.values():
            # FastAPI announces its own 422; values that are not allowed are answered 400 here
            operation["responses"].pop("422", None)
    if guarded:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document
