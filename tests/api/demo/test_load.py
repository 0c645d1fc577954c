"""The load generator: it counts what was answered, what failed, and what was not answered."""

import asyncio
from collections import Counter

import httpx
import pytest

from api.demo.envoy import Address
from api.demo.load import Load
from api.demo.mesh import MESH


def run(handler, *, limit, stop_after=None):
    async def scenario() -> Load:
        stop = asyncio.Event()
        if stop_after is not None:
            asyncio.get_running_loop().call_later(stop_after, stop.set)
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            load = Load(MESH, Address(1), client, limit=limit, pace=100.0)
            await load.run(stop)
            return load

    return asyncio.run(scenario())


def test_each_consumer_follows_its_plan_and_numbers_run_on_per_path():
    seen: Counter[tuple[str, str, str]] = Counter()

    def answer(request: httpx.Request) -> httpx.Response:
        seen[request.headers["x-consumer"], request.method, request.url.path] += 1
        return httpx.Response(200)

    load = run(answer, limit=12)
    assert seen == {
        ("web", "GET", "/products"): 6,
        ("web", "GET", "/basket"): 3,
        ("web", "POST", "/checkout"): 3,
        ("mobile", "GET", "/products"): 4,
        ("mobile", "GET", "/basket"): 4,
        ("mobile", "POST", "/checkout"): 4,
    }
    assert load.asked.total() == 24
    assert {asked.number for asked in load.asked if asked.path == "/checkout"} == set(range(1, 8))
    assert not load.failed
    assert load.unanswered == 0


def test_failures_are_answers_and_silence_is_not():
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/basket":
            raise httpx.ConnectError("refused")
        return httpx.Response(503 if request.url.path == "/checkout" else 404)

    load = run(answer, limit=12)
    assert load.unanswered == 7
    assert load.asked.total() == 17
    assert load.failed == {("web", "/checkout"): 3, ("mobile", "/checkout"): 4}


def test_an_endless_load_stops_when_told_with_all_answers_in():
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.02)
        return httpx.Response(200)

    load = run(answer, limit=None, stop_after=0.1)
    assert load.asked.total() > 0
    assert load.unanswered == 0


@pytest.mark.parametrize("number", [1, MESH.period, MESH.period + 1])
def test_the_period_of_the_mesh_repeats_every_fate(number):
    failures = MESH.service("payment").failures
    for attempt in (1, 2):
        again = failures.fails(number + MESH.period, attempt)
        assert failures.fails(number, attempt) == again == failures.fails(number % 20, attempt)
