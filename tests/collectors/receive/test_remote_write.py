"""The receiver of remote write; what all receivers promise is in tests/contract."""

from collections.abc import Sequence
from pathlib import Path

import cramjam
import httpx
import pytest

from pipeline.decode import DECODERS
from pipeline.model.ledger import Outcome
from pipeline.model.topics import FORMAT_HEADER, RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.pipeline.decode.metric_rows import rows_of
from tests.pipeline.decode.remote_messages import Told, request, request_2

pytestmark = pytest.mark.anyio

FIRST = "application/x-protobuf"
SECOND = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
AT = 1_764_000_000_000
WRITTEN = "x-prometheus-remote-write-{}-written"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def series(count: int, **labels: str) -> list[Told]:
    return [Told({"__name__": f"a{n}_total", **labels}, [(n, AT)]) for n in range(count)]


def body_of(content_type: str, told: Sequence[Told]) -> bytes:
    message = request_2(told) if "v2" in content_type else request(told)
    return message.SerializeToString()


def snappy(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))


async def post(
    at: Bench, body: bytes, content_type: str = FIRST, path: str = "/api/v1/write", **headers: str
) -> httpx.Response:
    url = f"http://{at.collectors.addresses['remote_write']}{path}"
    told = {"content-encoding": "snappy", "content-type": content_type} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(url, content=body, headers=told)


async def test_it_is_off_unless_it_has_an_address(tmp_path: Path) -> None:
    async with running(tmp_path, remote_write={"address": None}) as at:
        assert "remote_write" not in at.collectors.addresses


@pytest.mark.parametrize(
    ("content_type", "format_name"),
    [
        (FIRST, "remote_write"),
        ("application/x-protobuf;proto=prometheus.WriteRequest", "remote_write"),
        (SECOND, "remote_write_2"),
        ('application/x-protobuf; proto="io.prometheus.write.v2.Request"', "remote_write_2"),
    ],
)
async def test_what_is_taken_goes_on_the_bus_as_protobuf(
    tmp_path: Path, content_type: str, format_name: str
) -> None:
    body = body_of(content_type, series(3))
    async with running(tmp_path) as at:
        answer = await post(at, snappy(body), content_type)
        assert (answer.status_code, answer.content) == (204, b"")
        (message,) = await at.messages(RAW_TELEMETRY)
        assert message.value == body
        assert message.headers[FORMAT_HEADER] == format_name
        assert at.count("remote_write", "metric_points", Outcome.ACCEPTED) == 3


async def test_how_many_were_written_is_told_in_version_2(tmp_path: Path) -> None:
    told = [
        *series(2),
        Told({"__name__": "h"}, histograms=[{"count_int": 0, "timestamp": AT}]),
        Told({"__name__": "a0_total"}, exemplars=[({}, 1.0, AT)] * 3),
    ]
    async with running(tmp_path) as at:
        answer = await post(at, snappy(body_of(SECOND, told)), SECOND)
        assert answer.status_code == 204
        counts = [answer.headers[WRITTEN.format(what)] for what in
                  ("samples", "histograms", "exemplars")]  # fmt: skip
        assert counts == ["2", "1", "3"]


@pytest.mark.parametrize("content_type", [FIRST, SECOND])
async def test_what_can_never_be_taken_is_told_and_the_rest_is(
    tmp_path: Path, content_type: str
) -> None:
    told = [*series(2), Told({"no": "name"}, [(1.0, AT)])]
    async with running(tmp_path) as at:
        answer = await post(at, snappy(body_of(content_type, told)), content_type)
        assert answer.status_code == 400
        assert answer.text == "1 rejected: a series without a name; 2 taken\n"
        if content_type == SECOND:
            assert answer.headers[WRITTEN.format("samples")] == "2"
        (message,) = await at.messages(RAW_TELEMETRY)
        decoded = DECODERS[message.headers[FORMAT_HEADER]]([message.value])
        assert len(rows_of(decoded)) == 2
        assert at.reasons("remote_write", "metric_points") == {
            (Outcome.REJECTED, "a series without a name"): 1
        }


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"content_type": "application/x-protobuf;proto=io.other.Request"}, "/api/v1/write", 415),
        ({"content_type": "application/json"}, "/api/v1/write", 415),
        ({"content_encoding": "gzip"}, "/api/v1/write", 415),
        ({}, "/write", 404),
    ],
)
async def test_what_is_no_remote_write_is_refused(
    tmp_path: Path, headers: dict[str, str], path: str, status: int
) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, snappy(body_of(FIRST, series(1))), path=path, **headers)
        assert answer.status_code == status
        assert await at.messages(RAW_TELEMETRY) == []


@pytest.mark.parametrize("content_type", [FIRST, SECOND])
@pytest.mark.parametrize("damage", ["not snappy", "cut", "not protobuf"])
async def test_malformed_bodies_are_400_and_nothing_is_taken(
    tmp_path: Path, content_type: str, damage: str
) -> None:
    body = snappy(body_of(content_type, series(40)))
    broken = {"not snappy": b"\xff" * 9, "cut": body[:-3], "not protobuf": snappy(b"\x0a\xff")}
    async with running(tmp_path) as at:
        answer = await post(at, broken[damage], content_type)
        assert answer.status_code == 400
        assert await at.messages(RAW_TELEMETRY) == []
        assert at.count("remote_write", "metric_points", Outcome.REJECTED) == 1


async def test_a_bomb_is_refused_by_what_it_says_to_hold(tmp_path: Path) -> None:
    bomb = snappy(bytes(2_000_000))
    lies = b"\xff\xff\xff\xff\x0f" + bomb[3:]
    assert len(bomb) < 100_000
    async with running(tmp_path, remote_write={"max_decompressed_bytes": 1_000_000}) as at:
        for body in (bomb, lies):
            answer = await post(at, body)
            assert answer.status_code == 413
        answer = await post(at, b"\x80\x80\x3d" + bomb[3:])
        assert answer.status_code == 400


async def test_a_full_bus_is_503_since_prometheus_drops_what_is_429(tmp_path: Path) -> None:
    async with running(tmp_path, bus={"max_bytes": 65_536}) as at:
        body = snappy(body_of(FIRST, series(200, padding="x" * 100)))
        answers = [await post(at, body) for _ in range(3)]
        last = answers[-1]
        assert answers[0].status_code == 204
        assert (last.status_code, last.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("content_type", [FIRST, SECOND])
async def test_a_body_larger_than_a_message_is_cut(tmp_path: Path, content_type: str) -> None:
    told = [one for n in range(30) for one in series(10, n=str(n))]
    body = body_of(content_type, told)
    async with running(tmp_path, bus={"max_message_bytes": 8_192}) as at:
        answer = await post(at, snappy(body), content_type)
        assert answer.status_code == 204, answer.text
        messages = await at.messages(RAW_TELEMETRY)
        assert len(messages) > 1
        found = [
            (row["name"], row["attributes"]["n"])
            for message in messages
            for row in rows_of(DECODERS[message.headers[FORMAT_HEADER]]([message.value]))
        ]
        assert found == [(one.labels["__name__"], one.labels["n"]) for one in told]


async def test_a_token_is_demanded_where_one_is_set(tmp_path: Path) -> None:
    body = snappy(body_of(FIRST, series(1)))
    async with running(tmp_path, intake={"token": "secret"}) as at:
        assert (await post(at, body)).status_code == 401
        assert (await post(at, body, authorization="Bearer secret")).status_code == 204


async def test_secrets_never_reach_the_bus(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        for content_type in (FIRST, SECOND):
            body = snappy(body_of(content_type, series(2, api_token="geheim")))
            assert (await post(at, body, content_type)).status_code == 204
        messages = await at.messages(RAW_TELEMETRY)
        assert len(messages) == 2
        assert all(b"geheim" not in message.value for message in messages)
