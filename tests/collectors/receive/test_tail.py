"""Files that are followed: through growth, rotation, restarts and a bus that is full."""

import asyncio
import gzip
import os
import shutil
from pathlib import Path

import orjson
import pytest

from pipeline.errors import InvalidInput
from pipeline.jobs.decoding import decode_messages
from pipeline.model.ledger import Outcome
from pipeline.model.messages import Message
from pipeline.model.topics import ORIGIN_HEADER, OTLP_SPANS, RAW_TELEMETRY, TOPICS
from tests.collectors.bench import Bench, running

pytestmark = pytest.mark.anyio

SOURCE = "tail"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def line(number: int) -> bytes:
    told = {
        "start_time": f"2025-11-26T16:00:{number % 60:02d}.{number % 1000:03d}Z",
        "method": "GET",
        "path": f"/{number}",
        "response_code": 200,
        "duration": 5,
        "request_id": f"r-{number}",
        "upstream_cluster": "cart",
    }
    return orjson.dumps(told) + b"\n"


def lines(first: int, until: int) -> bytes:
    return b"".join(map(line, range(first, until)))


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as log:
        log.write(text)


def following(tmp_path: Path, *paths: object, bus: dict | None = None, **more: object):
    settings = {
        "paths": tuple(map(str, paths)),
        "directory": tmp_path / "places",
        "poll_seconds": 0.05,
        "rotated_seconds": 0.3,
        **more,
    }
    return running(tmp_path, bus=bus, tail=settings)


async def numbers(at: Bench) -> list[int]:
    """The lines that are on the bus, in its order."""
    messages: list[Message] = await at.messages(RAW_TELEMETRY)
    told = [orjson.loads(one) for message in messages for one in message.value.splitlines()]
    return [int(one["request_id"].removeprefix("r-")) for one in told]


async def until(at: Bench, wanted: list[int]) -> None:
    """Wait until these lines are there; then for a while, that no others come."""
    async with asyncio.timeout(30):
        while len(await numbers(at)) < len(wanted):  # noqa: ASYNC110 - a file has no events
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert sorted(await numbers(at)) == sorted(wanted)


async def test_a_file_is_followed_as_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(lines(0, 3))
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2])
        append(log, line(3)[:20])
        await until(at, [0, 1, 2])
        append(log, line(3)[20:] + line(4))
        await until(at, [0, 1, 2, 3, 4])
        messages = await at.messages(RAW_TELEMETRY)
        assert {message.headers["format"] for message in messages} == {"envoy_json"}
        assert {message.headers["source"] for message in messages} == {SOURCE}
        assert messages[0].headers[ORIGIN_HEADER].startswith(f"{log}:0-")
        assert at.count(SOURCE, "access_logs", Outcome.ACCEPTED) == 5
        assert at.collectors.addresses["tail"] == str(log)


async def test_it_begins_again_where_it_was_left(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(lines(0, 3))
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2])
    append(log, lines(3, 5))
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2, 3, 4])
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2, 3, 4])


async def test_files_that_appear_later_are_read_from_their_beginning(tmp_path: Path) -> None:
    async with following(tmp_path, tmp_path / "logs" / "**" / "*.log", start="end") as at:
        (tmp_path / "logs" / "deep").mkdir(parents=True)
        (tmp_path / "logs" / "deep" / "a.log").write_bytes(lines(0, 2))
        (tmp_path / "logs" / "b.log").write_bytes(lines(2, 4))
        await until(at, [0, 1, 2, 3])


async def test_what_is_there_at_first_can_be_left_out(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(lines(0, 3))
    async with following(tmp_path, log, start="end") as at:
        await asyncio.sleep(0.3)
        append(log, line(3))
        await until(at, [3])


@pytest.mark.parametrize("glob", ["access.log", "access.log*"])
async def test_rotation_by_renaming(tmp_path: Path, glob: str) -> None:
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    log.write_bytes(lines(0, 3))
    async with following(tmp_path, tmp_path / glob) as at:
        await until(at, [0, 1, 2])
        log.rename(old)
        append(old, line(3))  # who has it open writes on
        log.write_bytes(lines(4, 6))
        append(old, line(6)[:-1])  # a last line without its end
        wanted = [0, 1, 2, 3, 4, 5, *([6] if glob == "access.log" else [])]
        await until(at, wanted)
        log.rename(tmp_path / "access.log.2")
        log.write_bytes(lines(7, 8))
        await until(at, [*wanted, 7])


async def test_a_file_that_was_renamed_while_nobody_looked_is_read_to_its_end(
    tmp_path: Path,
) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(lines(0, 3))
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2])
    append(log, line(3))
    log.rename(tmp_path / "access.log.1")
    log.write_bytes(lines(4, 6))
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2, 3, 4, 5])
        async with asyncio.timeout(20):
            while len(list((tmp_path / "places").iterdir())) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("while_running", [True, False])
@pytest.mark.parametrize("glob", ["access.log", "access.log*"])
async def test_rotation_by_copying_and_cutting_short(
    tmp_path: Path, glob: str, while_running: bool
) -> None:
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    log.write_bytes(lines(0, 20))

    async def rotate() -> None:
        shutil.copy(log, old)
        await asyncio.sleep(0.3)  # the copy is seen before the original is cut
        append(old, line(20))  # as if it had been written just before the copy was made
        os.truncate(log, 0)
        append(log, lines(21, 60))  # at once longer than what it had

    wanted = [*range(20), *range(21, 60), *([20] if glob.endswith("*") else [])]
    async with following(tmp_path, tmp_path / glob) as at:
        await until(at, list(range(20)))
        if while_running:
            await rotate()
            await until(at, wanted)
    if not while_running:
        await rotate()
    async with following(tmp_path, tmp_path / glob) as at:
        await until(at, wanted)


async def test_nothing_is_lost_or_doubled_when_the_bus_was_full(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with following(tmp_path, log) as at:
        at.bus.gate.clear()
        log.write_bytes(lines(0, 3000))
        while not at.bus.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert at.count(SOURCE, "access_logs", Outcome.ACCEPTED) == 0
        at.bus.gate.set()
        await until(at, list(range(3000)))


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_chunk_of_which_nobody_knows_is_looked_for_on_the_bus(
    tmp_path: Path, arrives: bool
) -> None:
    """The process dies after the place was kept, before or after the bus has the chunk."""
    log = tmp_path / "access.log"
    log.write_bytes(lines(0, 3))
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2])
        at.bus.gate.clear()
        append(log, lines(3, 6))
        while not at.bus.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        (place,) = (tmp_path / "places").glob("*.json")
        dying = place.read_bytes()
        assert orjson.loads(dying)["pending"]
        at.bus.gate.set()
        await until(at, [0, 1, 2, 3, 4, 5])
    place.write_bytes(dying)
    if not arrives:
        told = orjson.loads(dying)
        told["pending"]["origin"] += " never came"
        place.write_bytes(orjson.dumps(told))
    append(log, line(6))
    twice = [] if arrives else [3, 4, 5]
    async with following(tmp_path, log) as at:
        await until(at, [0, 1, 2, 3, 4, 5, 6, *twice])


async def test_bad_lines_go_to_quarantine_and_are_no_hindrance(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(lines(0, 2) + b"{broken\n" + lines(2, 4))
    async with following(tmp_path, f"envoy_json:{log}") as at:
        async with asyncio.timeout(20):
            while at.count(SOURCE, "access_logs", Outcome.ACCEPTED) < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        decoded = decode_messages(await at.messages(RAW_TELEMETRY))
        assert decoded.batches["access_logs"].num_rows == 4
        assert len(decoded.refused) == 1


async def test_what_is_no_telemetry_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    log.write_bytes(b"hello\nworld\n\n")
    async with following(tmp_path, log) as at:
        async with asyncio.timeout(20):
            while at.count(SOURCE, "unknown", Outcome.DROPPED) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert at.reasons(SOURCE, "unknown") == {
            (Outcome.DROPPED, "no telemetry in a known format"): 2
        }
        append(log, line(0))
        await until(at, [0])


async def test_secrets_never_reach_the_bus(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line(0).replace(b'"/0"', b'"/0?token=geheim"'))
    async with following(tmp_path, log) as at:
        await until(at, [0])
        (message,) = await at.messages(RAW_TELEMETRY)
        assert b"geheim" not in message.value


async def test_requests_of_otlp_on_lines_as_the_file_exporter_writes_them(tmp_path: Path) -> None:
    log = tmp_path / "traces.jsonl"
    span = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": "a"}
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span, span]}]}]}
    log.write_bytes((orjson.dumps(request) + b"\n") * 3)
    async with following(tmp_path, log) as at:
        async with asyncio.timeout(20):
            while at.count(SOURCE, "spans", Outcome.ACCEPTED) < 6:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        decoded = decode_messages(await at.messages(OTLP_SPANS))
        assert decoded.batches["spans"].num_rows == 6
        assert not decoded.refused


RECORDED = {
    "envoy_text": "envoy_text.in.txt",
    "envoy_json": "envoy_json.in.txt",
    "linkerd_apache": "linkerd_apache.in.txt",
    "linkerd_json": "linkerd_json.in.txt",
    "ztunnel": "ztunnel.in.txt",
    "combined": "combined.in.txt",
    "kong_json": "kong_json.in.jsonl",
    "aws_apigateway": "aws_apigateway.in.jsonl",
    "apigee": "apigee.in.jsonl",
}


@pytest.mark.parametrize("name", RECORDED)
async def test_every_format_of_lines_is_found_out(tmp_path: Path, name: str) -> None:
    recorded = Path(__file__).parents[2] / "pipeline/decode/golden" / RECORDED[name]
    log = tmp_path / "some.log"
    log.write_bytes(recorded.read_bytes())
    async with following(tmp_path, log) as at:
        async with asyncio.timeout(30):
            while not at.count(SOURCE, "access_logs", Outcome.ACCEPTED):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        messages = [one for topic in TOPICS for one in await at.messages(topic)]
        assert {message.headers["format"] for message in messages} == {name}
        assert decode_messages(messages).batches["access_logs"].num_rows > 0


async def test_columns_that_the_first_line_names_are_known_further_down(tmp_path: Path) -> None:
    log = tmp_path / "export.csv"
    log.write_bytes(
        b"apiproxy,client_received_start_timestamp,response_status_code,gateway_flow_id\n"
        b"orders,1764172800123,200,a\n"
    )
    async with following(tmp_path, f"apigee:{log}") as at:
        async with asyncio.timeout(30):
            while at.count(SOURCE, "access_logs", Outcome.ACCEPTED) < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        append(log, b"orders,1764172801123,404,b\n")
        async with asyncio.timeout(30):
            while at.count(SOURCE, "access_logs", Outcome.ACCEPTED) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        rows = decode_messages(await at.messages(RAW_TELEMETRY)).batches["access_logs"]
        assert rows["http_response_status_code"].to_pylist() == [200, 404]


async def test_compressed_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "access.log.2.gz").write_bytes(gzip.compress(lines(0, 3)))
    async with following(tmp_path, tmp_path / "access.log*") as at:
        (tmp_path / "access.log").write_bytes(lines(3, 4))
        await until(at, [3])


@pytest.mark.parametrize("text", ["nothing:/var/log/x", "jaeger_json:/var/log/x", "combined:", ""])
async def test_what_names_no_format_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        async with following(tmp_path, text):
            pass
    assert refused.value.field == "tail"


async def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput) as refused:
        async with following(tmp_path, "/var/log/x", directory=tmp_path / "file" / "places"):
            pass
    assert refused.value.field == "tail_directory"
