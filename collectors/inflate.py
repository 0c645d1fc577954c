"""Decompression in small steps, so that a bomb is stopped before it fills memory."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from collectors.room import Claim
from pipeline.errors import DecodeError, MessageTooLarge

ENCODINGS: Final = ("identity", "gzip", "deflate")

_WINDOW: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_STEP_IN: Final = 256 * 1024
_STEP_OUT: Final = 1024 * 1024


async def inflate(body: bytes, encoding: str, *, limit: int, claim: Claim) -> bytes:
    """The body without its content encoding, one of ``ENCODINGS``.

    The claim grows with what comes out; other requests are served between two steps.

    Raises:
        MessageTooLarge: more than ``limit`` bytes would come out.
        DecodeError: the body is not what its encoding says, or ends too early.
        NoRoom: the claim cannot grow any more.
    """
    if encoding == "identity" or not body:
        if len(body) > limit:
            raise MessageTooLarge(size=len(body), limit=limit, what="body")
        return body
    pieces: list[bytes] = []
    size = 0
    async for piece in _pieces(body, encoding):
        size += len(piece)
        if size > limit:
            raise MessageTooLarge(size=size, limit=limit, what="decompressed body")
        claim.grow(len(piece))
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _pieces(body: bytes, encoding: str) -> AsyncIterator[bytes]:
    stream = zlib.decompressobj(_WINDOW[encoding])
    rest = b""
    at = 0
    while rest or at < len(body):
        if not rest:
            rest = body[at : at + _STEP_IN]
            at += len(rest)
        if stream.eof:  # a gzip file may have several members, one after the other
            stream = zlib.decompressobj(_WINDOW[encoding])
        try:
            piece = stream.decompress(rest, _STEP_OUT)
        except zlib.error as error:
            raise DecodeError(f"invalid {encoding} data", offset=at - len(rest)) from error
        rest = stream.unused_data if stream.eof else stream.unconsumed_tail
        yield piece
        if len(piece) == _STEP_OUT:
            await asyncio.sleep(0)
    # what zlib still holds back is less than one step, or it waits for input that never came
    yield stream.flush()
    if not stream.eof:
        raise DecodeError(f"{encoding} data ends too early", offset=len(body))
