"""Decompression: the same bytes come out, in bounded memory, or a clear refusal."""

import asyncio
import gzip
import os
import zlib

import pytest
from hypothesis import given, settings, strategies as st

from collectors.inflate import inflate
from collectors.room import NoRoom, Room
from pipeline.errors import DecodeError, MessageTooLarge


def inflated(
    body: bytes, encoding: str = "gzip", *, limit: int = 1 << 30, room: int = 1 << 30
) -> bytes:
    with Room(room, retry_after=1).claim() as claim:
        return asyncio.run(inflate(body, encoding, limit=limit, claim=claim))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 300, 2**18 - 1, 2**18, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20]),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_members_of_any_size_come_out_as_they_went_in(members: list[tuple[int, bool]]) -> None:
    values = [os.urandom(size) if noise else bytes(size) for size, noise in members]
    body = b"".join(gzip.compress(value, 1) for value in values)
    assert inflated(body) == b"".join(values)


@pytest.mark.parametrize("cut", [1, 5, 10, 11, -9, -8, -1])
def test_a_cut_stream_is_refused(cut: int) -> None:
    body = gzip.compress(os.urandom(100) * 30_000)[:cut]
    with pytest.raises(DecodeError, match="too early"):
        inflated(body)


@pytest.mark.parametrize("at", [0, 1, 12, 2000, -3])
def test_a_flipped_byte_is_refused(at: int) -> None:
    body = bytearray(gzip.compress(os.urandom(5000)))
    body[at] ^= 0xFF
    with pytest.raises(DecodeError) as refused:
        inflated(bytes(body))
    assert refused.value.offset is not None


def test_the_limit_is_exact() -> None:
    body = zlib.compress(bytes(5_000_000))
    assert len(inflated(body, "deflate", limit=5_000_000)) == 5_000_000
    with pytest.raises(MessageTooLarge):
        inflated(body, "deflate", limit=4_999_999)


def test_output_takes_room_and_gives_it_back() -> None:
    room = Room(3_000_000, retry_after=1)
    other = room.claim()
    other.grow(1)
    with pytest.raises(NoRoom), room.claim() as claim:
        asyncio.run(inflate(gzip.compress(bytes(5_000_000)), "gzip", limit=1 << 30, claim=claim))
    assert room.used == 1


def test_an_empty_body_is_empty_whatever_it_says() -> None:
    assert inflated(b"") == b""
