"""Asks servers over HTTP for what they expose or know: bounded in time, bytes and redirects.

The client is httpx2: it streams raw bodies, so that they are counted before and while they are
unpacked, knows redirects and TLS, is kept well, and brings nothing that is compiled.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2 as httpx

from collectors.inflate import ENCODINGS, inflate
from collectors.room import Claim
from collectors.scrape.access import Access, TlsContext
from pipeline.errors import DecodeError, InvalidInput, MessageTooLarge, Permanent

MAX_REDIRECTS: Final = 5
KEEP_ALIVE_SECONDS: Final = 90.0
"""How long a connection is kept that nobody uses: longer than intervals usually are."""

BROKEN: Final = "connection broken"
"""The reason of a failure in the middle of an answer."""

KEPT_CONNECTIONS: Final = 256
"""How many are kept at most; the client looks at all of them for each request."""

_NO_BOUND: Final = httpx.Timeout(None)
"""Every request is bounded as a whole, by whoever makes it."""

# it logs every request, and whole URLs: one line a scrape, with whatever secret a query holds
logging.getLogger("httpx2").setLevel(logging.WARNING)


class FetchFailed(Permanent):
    """A server did not answer, or not with what was asked for.

    Attributes:
        reason: why, in words that can be counted.
        answered: whether something came that had to be refused.
        status: the HTTP status, or 0 where none came.
    """

    def __init__(
        self, message: str, *, reason: str, answered: bool = False, status: int = 0
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.answered = answered
        self.status = status


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer of a server: its body, unpacked, and the content type it gave, lower case."""

    body: bytes
    content_type: str


class Fetcher:
    """A client for the servers of one configuration; for one event loop.

    Args:
        access: credentials and TLS.
        max_body_bytes: largest body, both on the wire and unpacked.
        connections: how many may be in use at once.
    """

    def __init__(self, access: Access, *, max_body_bytes: int, connections: int) -> None:
        self._access = access
        self._limit = max_body_bytes
        self._tls = TlsContext(access.tls_config)
        self._client = httpx.AsyncClient(
            verify=self._tls.context,
            trust_env=False,
            timeout=_NO_BOUND,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(
                max_connections=connections + KEPT_CONNECTIONS,
                max_keepalive_connections=KEPT_CONNECTIONS,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
        )

    async def get(
        self, url: str, headers: Mapping[str, str], claim: Claim, *, seconds: float
    ) -> Fetched:
        """The body that a server answers with status 200; the claim grows with it.

        Raises:
            FetchFailed: there is no such answer within ``seconds``, or it is too large.
            NoRoom: the claim cannot grow any more.
        """
        headers = {"accept-encoding": "gzip", **headers}
        try:
            async with asyncio.timeout(seconds), self.opened(url, headers) as response:
                return await self._whole(response, claim)
        except TimeoutError:
            raise FetchFailed(f"no answer within {seconds:g} s", reason="timeout") from None

    @asynccontextmanager
    async def opened(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """An answer with status 200 whose body was not read yet; closed at the end.

        Raises:
            FetchFailed: there is none.
        """
        try:
            response = await self._answered(self._request(url, headers))
            try:
                yield response
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise FetchFailed(_explained(error), reason=_reason(error)) from error
        except InvalidInput as error:  # a secret or certificate that cannot be read
            raise FetchFailed(str(error), reason="credentials") from error

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    def _request(self, url: str, headers: Mapping[str, str]) -> httpx.Request:
        self._tls.refresh()
        sent = [*headers.items(), *self._access.headers()]
        request = self._client.build_request("GET", url, headers=sent)
        if self._access.tls_config.server_name:
            request.extensions["sni_hostname"] = self._access.tls_config.server_name
        return request

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        """The answer after ``MAX_REDIRECTS`` redirects at most, whose bodies nobody reads."""
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._sent(request)
            if response.status_code == httpx.codes.OK:
                return response
            await response.aclose()
            following = response.next_request
            if following is None or not self._access.follow_redirects:
                status = response.status_code
                raise FetchFailed(
                    f"the server answered with status {status}",
                    reason=f"status {status}",
                    status=status,
                )
            if following.url.scheme not in {"http", "https"}:
                raise FetchFailed(
                    f"a redirect to {following.url.scheme}:, which is not HTTP", reason="redirect"
                )
            self._forget_secrets(request.url, following)
            request = following
        raise FetchFailed(f"more than {MAX_REDIRECTS} redirects", reason="redirect")

    def _forget_secrets(self, asked: httpx.URL, following: httpx.Request) -> None:
        """Headers of the configuration are for the server it names; the client sees to others."""
        before, after = ((url.scheme, url.host, url.port) for url in (asked, following.url))
        for name in self._access.http_headers if before != after else ():
            following.headers.pop(name, None)

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        """The answer; asked for again where the server had just closed the connection."""
        send = partial(self._client.send, request, stream=True, follow_redirects=False)
        try:
            return await send()
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await send()

    async def _whole(self, response: httpx.Response, claim: Claim) -> Fetched:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ENCODINGS:
            raise FetchFailed(
                f"content-encoding {encoding!r}, which was not asked for",
                reason="content encoding",
                answered=True,
            )
        try:
            packed = await self._packed(response, claim)
            body = await inflate(packed, encoding, limit=self._limit, claim=claim)
        except MessageTooLarge as error:
            raise FetchFailed(str(error), reason="too large", answered=True) from error
        except DecodeError as error:
            reason = f"malformed: {error.reason}"
            raise FetchFailed(str(error), reason=reason, answered=True) from error
        return Fetched(body, response.headers.get("content-type", "").strip().lower())

    async def _packed(self, response: httpx.Response, claim: Claim) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > self._limit:
                raise MessageTooLarge(size=size, limit=self._limit, what="body")
            claim.grow(len(piece))
            pieces.append(piece)
        return b"".join(pieces)


def _explained(error: Exception) -> str:
    """What went wrong, in a line; errors of sockets often say nothing but their class."""
    cause: BaseException = error
    while not str(cause) and cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause) or type(error).__name__


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError):
        return "connection"
    if isinstance(error, httpx.NetworkError | httpx.ProtocolError):
        return BROKEN
    return "request"
