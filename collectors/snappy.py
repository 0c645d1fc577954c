"""Snappy's block format, undone within bounds: what is said to come out is looked at first."""

import asyncio
from typing import Final

import cramjam

from collectors.room import Claim
from pipeline.errors import DecodeError, MessageTooLarge

_OFF_LOOP_BYTES: Final = 1024 * 1024
"""From this size on it is undone in a thread, so that others do not wait for it."""


async def unsnapped(body: bytes, *, limit: int, claim: Claim) -> bytes:
    """The body without its compression.

    The block format says in front how many bytes come out, and never gives another number of them.

    Raises:
        MessageTooLarge: more than ``limit`` bytes would come out.
        DecodeError: the body is not in snappy's block format.
        NoRoom: the claim cannot grow by what would come out.
    """
    try:
        size = cramjam.snappy.decompress_raw_len(body)
    except cramjam.DecompressionError as error:
        raise DecodeError("invalid snappy data", offset=0) from error
    if size > limit:
        raise MessageTooLarge(size=size, limit=limit, what="decompressed body")
    claim.grow(size)
    if size < _OFF_LOOP_BYTES:
        return _undone(body, size)
    return await asyncio.to_thread(_undone, body, size)


def _undone(body: bytes, size: int) -> bytes:
    try:
        return bytes(cramjam.snappy.decompress_raw(body, output_len=size))
    except cramjam.DecompressionError as error:
        raise DecodeError("invalid snappy data", offset=0) from error
