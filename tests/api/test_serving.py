"""What a process answers before its parts are there, and how serving ends."""

import asyncio
import contextlib

import httpx2 as httpx
import pytest

from api.serving import Front, served
from collectors.listen import bind


async def says(scope, receive, send, text=b"health"):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text})


async def whole(scope, receive, send):
    await says(scope, receive, send, b"whole")


async def slow(scope, receive, send):
    await asyncio.sleep(0.3)
    await says(scope, receive, send, b"late")


def running(app, scenario):
    """Serve an app on a free port, and run a scenario with a client of it."""

    async def run():
        listener = bind("127.0.0.1", 0, field="address")
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.closing(listener):
            async with (
                served(app, listener, 5.0) as serving,
                httpx.AsyncClient(base_url=url, timeout=30) as client,
            ):
                return await scenario(client, serving)

    return asyncio.run(run())


def test_meanwhile_health_answers_and_all_else_is_told_to_come_back():
    front = Front(says, lambda: "waiting for the store")

    async def scenario(client, _):
        health, refused = await client.get("/readyz"), await client.get("/v1/graph")
        front.open(whole)
        return health, refused, await client.get("/v1/graph")

    health, refused, answered = running(front, scenario)
    assert health.text == "health"
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["detail"] == "waiting for the store"
    assert answered.text == "whole"


def test_draining_answers_what_is_under_way_and_takes_no_more():
    async def scenario(client, serving):
        asked = asyncio.create_task(client.get("/"))
        await asyncio.sleep(0.1)
        await serving.drain()
        await serving.drain()
        with pytest.raises(httpx.ConnectError):
            await client.get("/", headers={"connection": "close"})
        return await asked

    assert running(slow, scenario).text == "late"
