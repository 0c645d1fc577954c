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


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        """The time, in seconds."""
        return self.now


async def versions(cache, asked, clock):
    """Ask for (state, seconds) in turn, let what was begun end, and give what was answered."""
    answered = []
    for state, at in asked:
        clock.now = at

        maker = Maker(str(state).encode())
        maker.go.set()
        answered.append((await cache.get("key", state, maker, lag=1.0)).decode())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return "".join(answered)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        pytest.param([(1, 0), (2, 0.9), (2, 1.0)], "112", id="the last one while the next is made"),
        pytest.param([(1, 0), (2, 1.1)], "12", id="too old to be given"),
        pytest.param([(1, 0), (1, 9), (2, 9.9)], "111", id="age counts from when it last held"),
        pytest.param([(1, 0), (2, 0.5), (3, 1.2), (3, 1.3)], "1123", id="always one behind"),
    ],
)
def test_a_lag_bounds_how_old_an_answer_is(asked, answered):
    clock = Clock()
    assert asyncio.run(versions(AnswerCache(100, clock), asked, clock)) == answered


def test_one_successor_is_made_at_a_time():
    async def asked():
        cache, first, next_one = AnswerCache(100, Clock()), Maker(b"old"), Maker(b"new")
        first.go.set()
        await cache.get("key", 1, first, lag=1.0)
        given = [await cache.get("key", state, next_one, lag=1.0) for state in (2, 3, 4)]
        await asyncio.sleep(0)
        next_one.go.set()
        return given, next_one.times

    assert asyncio.run(asked()) == ([b"old"] * 3, 1)


def test_a_failure_in_the_background_is_told_to_who_asks_next():
    async def asked():
        cache, good, bad = AnswerCache(100, Clock()), Maker(), Maker(ValueError("no"))
        good.go.set()
        bad.go.set()
        await cache.get("key", 1, good, lag=1.0)
        assert await cache.get("key", 2, bad, lag=1.0) == b"answer"
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="no"):
            await cache.get("key", 2, bad, lag=1.0)

    asyncio.run(asked())
