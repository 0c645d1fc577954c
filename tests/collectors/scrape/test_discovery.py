"""Targets by name, out of files, and out of answers."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest

from collectors.room import Room
from collectors.scrape.config import FileSd, HttpSd, StaticConfig
from collectors.scrape.discovery import (
    Discovery,
    FileDiscovery,
    HttpDiscovery,
    StaticDiscovery,
    groups_of,
)
from collectors.scrape.target import Found
from pipeline.errors import InvalidInput
from tests.collectors.scrape.exposer import answer, exposing, redirect

pytestmark = pytest.mark.anyio

ROOM = Room(1 << 30, retry_after=1)
CART = {"targets": ["cart:80"], "labels": {"env": "test"}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Heard:
    """Groups as a discovery tells them."""

    def __init__(self) -> None:
        self.groups: dict[str, list[str]] = {}
        self.labels: list[dict[str, str]] = []
        self.found: list[Found] = []
        self.times = 0

    def tell(self, source: str, found: Sequence[Found]) -> None:
        """Take a group."""
        self.times += 1
        self.labels = [dict(one.labels) for one in found]
        self.found += found
        self.groups[source] = [one.labels["__address__"] for one in found]

    async def until(self, expected: list[str]) -> None:
        """Wait until these addresses are told."""
        async with asyncio.timeout(10):
            while sorted(one for group in self.groups.values() for one in group) != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def heard(discovery: Discovery) -> AsyncIterator[Heard]:
    told = Heard()
    running = asyncio.create_task(discovery.run(told.tell))
    try:
        yield told
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def written(file: Path, content: object) -> None:
    """A file that is another than before, however coarse the clock of the file system is."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(content if isinstance(content, str) else orjson.dumps(content).decode())
    os.utime(file, ns=(before + 10**9, before + 10**9))


async def test_named_targets_are_told_once() -> None:
    told = Heard()
    config = StaticConfig(targets=("a:1", "https://b:2/m"), labels={"env": "test"})
    await StaticDiscovery([config]).run(told.tell)
    assert told.labels == [
        {"env": "test", "__address__": "a:1"},
        {"env": "test", "__address__": "b:2", "__scheme__": "https", "__metrics_path__": "/m"},
    ]


async def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    written(tmp_path / "a.json", [CART])
    (tmp_path / "b.yml").write_text("- targets: [b:1, b:2]\n  labels: {version: '2'}\n")
    config = FileSd(files=(str(tmp_path / "*.json"), str(tmp_path / "b.yml")), refresh_interval=0.1)
    async with heard(FileDiscovery(config)) as told:
        await told.until(["b:1", "b:2", "cart:80"])
        times = told.times
        await asyncio.sleep(0.3)
        assert told.times == times
        written(tmp_path / "a.json", [CART, {"targets": ["c:1"]}])
        await told.until(["b:1", "b:2", "c:1", "cart:80"])
        assert told.labels == [
            {"__address__": "cart:80", "env": "test"},
            {"__address__": "c:1"},
        ]
        (tmp_path / "a.json").unlink()
        await told.until(["b:1", "b:2"])


async def test_a_file_that_is_not_there_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = FileSd(files=(str(tmp_path / "a.json"),), refresh_interval=0.05)
    async with heard(FileDiscovery(config)) as told:
        await asyncio.sleep(0.3)
        written(tmp_path / "a.json", [CART])
        await told.until(["cart:80"])
    (warning,) = (one.message for one in caplog.records)
    assert "a.json: there is no such file" in warning


async def test_a_file_that_makes_no_sense_keeps_what_it_said_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a.json"
    written(file, [CART])
    config = FileSd(files=(str(file),), refresh_interval=0.05)
    with caplog.at_level(logging.INFO):
        async with heard(FileDiscovery(config)) as told:
            await told.until(["cart:80"])
            written(file, [{"target": ["x:1"]}])
            await asyncio.sleep(0.3)
            await told.until(["cart:80"])
            written(file, [{"targets": ["x:1"]}])
            await told.until(["x:1"])
    warning, again = (one.message for one in caplog.records)
    assert f"{file}[0].target" in warning
    assert "stays" in warning
    assert "again" in again


async def test_an_answer_over_http_is_asked_for_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    async with exposing() as server:
        server.answers["/sd"] = answer(orjson.dumps([CART]), content_type="application/json")
        config = HttpSd(
            url=f"{server.url}/sd?key=1",
            refresh_interval=0.1,
            bearer_token_file=tmp_path / "token",
        )
        async with heard(HttpDiscovery(config, ROOM)) as told:
            await told.until(["cart:80"])
            asked = server.asked[0]
            assert asked.path == "/sd?key=1"
            assert asked.headers["accept"] == "application/json"
            assert asked.headers["authorization"] == "Bearer t"
            assert asked.headers["x-prometheus-refresh-interval-seconds"] == "0.1"
            server.answers["/sd"] = answer(b"[]", content_type="application/json; charset=utf-8")
            await told.until([])
    assert ROOM.used == 0


@pytest.mark.parametrize(
    "answering",
    [
        answer(b"", status=500),
        answer(b"[]", content_type="text/html"),
        answer(b"no", content_type="application/json"),
        answer(b'{"targets": []}', content_type="application/json"),
        redirect("file:///etc/passwd"),
    ],
    ids=["status", "type", "text", "shape", "redirect"],
)
async def test_an_answer_that_makes_no_sense_keeps_what_was_found(
    caplog: pytest.LogCaptureFixture, answering: object
) -> None:
    async with exposing() as server:
        server.answers["/sd"] = answer(orjson.dumps([CART]), content_type="application/json")
        config = HttpSd(url=f"{server.url}/sd?key=s3cret", refresh_interval=0.05)
        async with heard(HttpDiscovery(config, ROOM)) as told:
            await told.until(["cart:80"])
            server.answers["/sd"] = answering  # type: ignore[assignment]
            asked = len(server.asked)
            while len(server.asked) < asked + 4:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await told.until(["cart:80"])
    assert len(caplog.records) == 1
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "tree", [{}, 1, [1], [{"targets": "a:1"}], [{"targets": [], "lables": {}}], [{"labels": {}}]]
)
def test_what_is_no_list_of_groups_is_refused(tree: object) -> None:
    with pytest.raises(InvalidInput, match="somewhere"):
        groups_of(tree, "somewhere")


def test_an_empty_file_has_no_targets() -> None:
    assert groups_of(None, "x") == []
