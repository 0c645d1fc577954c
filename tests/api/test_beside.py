"""Work beside the body of a with block."""

import asyncio

import pytest

from api.beside import beside
from pipeline.errors import BusUnavailable


async def fails():
    await asyncio.sleep(0)
    raise BusUnavailable("gone")


async def lasts(told):
    try:
        await asyncio.sleep(3600)
    finally:
        told.append("ended")


def test_what_fails_beside_ends_the_body_and_is_raised():
    async def scenario():
        async with beside(fails()):
            await asyncio.sleep(3600)

    with pytest.raises(BusUnavailable, match="gone"):
        asyncio.run(scenario())


def test_what_lasts_is_ended_with_the_body():
    told = []

    async def scenario():
        async with beside(lasts(told)):
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert told == ["ended"]


def test_what_ends_early_leaves_the_body_alone():
    async def scenario():
        async with beside(asyncio.sleep(0)):
            await asyncio.sleep(0.01)
            return "went on"

    assert asyncio.run(scenario()) == "went on"


def test_a_failing_body_fails_as_it_would_alone():
    async def scenario():
        async with beside(lasts([])):
            raise ValueError("body")

    with pytest.raises(ValueError, match="body"):
        asyncio.run(scenario())
