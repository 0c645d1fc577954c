"""Answers are made once per state, and kept within a bound."""

import asyncio

import pytest

from api.cache import AnswerCache


class Maker:
    """Makes an answer after a while, and counts how often."""

    def __init__(self, body=b"answer"):
        self.body = body
        self.times = 0
        self.go = asyncio.Event()

    async def __call__(self):
        """Wait, then answer."""
        self.times += 1
        await self.go.wait()
        if isinstance(self.body, Exception):
            raise self.body
        return self.body


def test_who_asks_at_the_same_time_gets_the_same_answer():
    async def asked():
        cache, maker = AnswerCache(100), Maker()
        tasks = [asyncio.create_task(cache.get("key", 1, maker)) for _ in range(5)]
        await asyncio.sleep(0)
        maker.go.set()
        assert await asyncio.gather(*tasks) == [b"answer"] * 5
        return maker.times

    assert asyncio.run(asked()) == 1


def test_an_answer_holds_while_the_state_is_the_same():
    async def asked():
        cache, maker = AnswerCache(100), Maker()
        maker.go.set()
        for state in (1, 1, 2, 2):
            await cache.get("key", state, maker)
        return maker.times

    assert asyncio.run(asked()) == 2


def test_who_goes_away_takes_nothing_from_the_others():
    async def asked():
        cache, maker = AnswerCache(100), Maker()
        first = asyncio.create_task(cache.get("key", 1, maker))
        second = asyncio.create_task(cache.get("key", 1, maker))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        maker.go.set()
        return await second

    assert asyncio.run(asked()) == b"answer"


def test_a_failure_is_told_to_all_and_not_kept():
    async def asked():
        cache, maker = AnswerCache(100), Maker(ValueError("no"))
        maker.go.set()
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await cache.get("key", 1, maker)
        return maker.times

    assert asyncio.run(asked()) == 2


@pytest.mark.parametrize(("max_bytes", "made"), [(12, 4), (18, 3), (5, 4), (0, 4)])
def test_the_oldest_answers_give_way(max_bytes, made):
    async def asked():
        cache, maker = AnswerCache(max_bytes), Maker()
        maker.go.set()
        for key in ("a", "b", "c", "a"):
            await cache.get(key, 1, maker)
        return maker.times

    assert asyncio.run(asked()) == made
