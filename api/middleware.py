"""What every request passes: its path kept as it was written, and its bearer token checked."""

import hmac
from typing import Final
from urllib.parse import quote, unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""Paths that need no token: whoever keeps the process alive has none."""


class EncodedSlashes:
    """Keeps a ``%2F`` inside one segment of the path, where servers decode it before routing.

    A segment that holds a ``/`` or a ``%`` once decoded is encoded again, once; the parameter
    types decode it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route by the path as it came over the wire."""
        raw = scope.get("raw_path") if scope["type"] == "http" else None
        if raw is not None and b"%" in raw:
            segments = raw.partition(b"?")[0].decode("latin-1").split("/")
            scope["path"] = "/".join(map(_one_segment, segments))
        await self._app(scope, receive, send)


def _one_segment(written: str) -> str:
    decoded = unquote(written)
    return quote(decoded, safe="") if "/" in decoded or "%" in decoded else decoded


class BearerToken:
    """Lets in who carries the token; anybody where none is set."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to who carries no token or another one."""
        if scope["type"] == "http" and not self._admits(scope):
            refusal = problem(
                401,
                detail="send the header Authorization: Bearer TOKEN with the API's token",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        if self._expected is None or scope["path"] in OPEN_PATHS:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        kind, _, token = given.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._expected)
