"""Logs of containers, imported and followed: as their runtimes keep them, and whose they are."""

import asyncio
import io
import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import orjson
import pytest

from collectors.line_chunks import CHUNK_BYTES, LINE_LIMIT, LineReader
from collectors.pieces import Fault, Piece
from collectors.receive.file import FileReport, import_files
from pipeline.bus.embedded import EmbeddedBus
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.jobs.decoding import decode_messages
from pipeline.model.decoded import Decoded
from pipeline.model.ledger import Ledger, Outcome
from pipeline.model.messages import Message
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.pipeline.decode.line_rows import Row, rows_of
from tests.pipeline.decode.lines.wrapping import cri, docker

POD = "cart-6d5f8c7b9-x2x7q"
PATH = f"log/pods/shop_{POD}_8d1b2c3d-1111-2222-3333-444455556666/istio-proxy/0.log"
WRAPS = pytest.mark.parametrize("wrap", [cri, docker])
Wrap = Callable[..., list[bytes]]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def line(number: int, pad: int = 0) -> bytes:
    told = {"start_time": "2026-03-02T10:15:33Z", "response_code": 200, "request_id": f"r-{number}",
            "path": "/" + "x" * pad}  # fmt: skip
    return orjson.dumps(told)


def halves(text: bytes) -> tuple[bytes, bytes]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def rows(messages: Sequence[Message]) -> list[Row]:
    return rows_of(Decoded(decode_messages(messages).batches))


def ids(messages: Sequence[Message]) -> list[str]:
    return [row["request_id"] for row in rows(messages)]


def written(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        log.write(text)
    return path


async def imported(tmp_path: Path, path: Path) -> tuple[FileReport, Sequence[Message]]:
    bus = EmbeddedBus(tmp_path / "bus")
    await bus.start()
    try:
        (report,) = await import_files([path], format="auto", bus=bus, ledger=Ledger())
        return report, await bus.read({}, max_bytes=1 << 30, wait=0)
    finally:
        await bus.stop()


@WRAPS
async def test_a_file_is_imported_by_what_was_logged(tmp_path: Path, wrap: Wrap) -> None:
    text = b"".join([*wrap(*halves(line(1))), *wrap(b"hello", stream="stderr"), *wrap(line(2))])
    report, messages = await imported(tmp_path, written(tmp_path, text))
    assert (report.format, report.accepted, report.quarantined) == ("envoy_json", 2, 1)
    assert [(fault.place, fault.reason) for fault in report.faults] == [("line 3", "not JSON")]
    assert ids(messages) == ["r-1", "r-2"]
    assert {row["resource"]["service_name"] for row in rows(messages)} == {"cart"}


@WRAPS
def test_parts_come_together_wherever_a_file_is_cut_into_chunks(wrap: Wrap) -> None:
    pads = [0, 300_000, 0, 5, 400_000, 450_000, 1, 300_000, 200_000, 7]
    lines = [(number, line(number, pad)) for number, pad in enumerate(pads)]
    parts = [wrap(*(text[at : at + 16_384] for at in range(0, len(text), 16_384)))
             for _, text in lines]  # fmt: skip
    text = b"".join(part for some in parts for part in [*some, *wrap(b"bad")])
    found = list(LineReader("envoy_json", MaskedKeys()).read(io.BytesIO(text)))
    pieces = [one for one in found if isinstance(one, Piece)]
    assert len(pieces) > 1
    assert all(len(piece.payload) <= CHUNK_BYTES for piece in pieces)
    assert sum(piece.records for piece in pieces) == len(pads)
    places = itertools.accumulate(len(some) + 1 for some in parts)
    faults = [one.place for one in found if isinstance(one, Fault)]
    assert faults == [f"line {place}" for place in places]


def test_a_line_that_is_too_long_once_it_is_whole_is_passed_over_and_told() -> None:
    long = cri(b"{}", *[b"x" * 1000] * (LINE_LIMIT // 1000 + 1))
    text = b"".join([*cri(line(1)), *long, *cri(line(2))])
    found = list(LineReader("envoy_json", MaskedKeys()).read(io.BytesIO(text)))
    assert [one.records for one in found if isinstance(one, Piece)] == [1, 1]
    reason = f"line longer than {LINE_LIMIT} bytes"
    assert [one for one in found if isinstance(one, Fault)] == [
        Fault("line 2", reason, format="envoy_json")
    ]


def following(tmp_path: Path) -> AbstractAsyncContextManager[Bench]:
    settings = {
        "paths": (str(tmp_path / "log/pods/*/*/*.log"),),
        "directory": tmp_path / "places",
        "poll_seconds": 0.05,
        "rotated_seconds": 0.3,
    }
    return running(tmp_path, tail=settings)


async def until(at: Bench, wanted: Sequence[str]) -> Sequence[Message]:
    """Wait until these lines are there; then for a while, that no others come."""
    async with asyncio.timeout(30):
        while len(ids(await at.messages(RAW_TELEMETRY))) < len(wanted):  # noqa: ASYNC110 - files have no events
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    messages = await at.messages(RAW_TELEMETRY)
    assert ids(messages) == list(wanted)
    return messages


@WRAPS
async def test_a_pods_log_is_followed_and_a_line_waits_for_all_its_parts(
    tmp_path: Path, wrap: Wrap
) -> None:
    first, last = wrap(*halves(line(2)))
    path = written(tmp_path, b"".join(wrap(line(1))) + first)
    async with following(tmp_path) as at:
        await until(at, ["r-1"])
        written(tmp_path, last)
        await until(at, ["r-1", "r-2"])
        written(tmp_path, b"".join(wrap(line(3))) + wrap(line(4), b"never ends")[0])
        await until(at, ["r-1", "r-2", "r-3"])
        path.rename(tmp_path / "0.log.20260302-101533")  # where the glob does not look
        messages = await until(at, ["r-1", "r-2", "r-3", "r-4"])
        assert at.count("tail", "access_logs", Outcome.ACCEPTED) == 4
    assert {tuple(row["resource"].items()) for row in rows(messages)} == {
        (
            ("service_namespace", "shop"),
            ("service_name", "cart"),
            ("service_instance_id", POD),
            ("workload", "cart"),
            ("system", "envoy"),
        )
    }
