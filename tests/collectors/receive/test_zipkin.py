"""The receiver of Zipkin's spans; what all receivers promise is in tests/contract."""

import gzip
from pathlib import Path

import httpx
import orjson
import pytest

from pipeline.model.ledger import Outcome
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.collectors.payloads import zipkin
from tests.zipkin_pb import list_of

pytestmark = pytest.mark.anyio

JSON, PROTOBUF = "application/json", "application/x-protobuf"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def post(
    at: Bench, body: bytes, content_type: str = JSON, path: str = "/api/v2/spans", **headers: str
) -> httpx.Response:
    url = f"http://{at.collectors.addresses['zipkin']}{path}"
    told = {"content-type": content_type} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(url, content=body, headers=told)


async def test_it_is_off_unless_it_has_an_address(tmp_path: Path) -> None:
    async with running(tmp_path, zipkin={"address": None}) as at:
        assert "zipkin" not in at.collectors.addresses


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", PROTOBUF, ""])
async def test_success_is_202_without_a_body(tmp_path: Path, content_type: str) -> None:
    spans = zipkin(3)
    body = list_of(spans).SerializeToString() if content_type == PROTOBUF else orjson.dumps(spans)
    async with running(tmp_path) as at:
        answer = await post(at, body, content_type)
        assert (answer.status_code, answer.content) == (202, b"")
        (message,) = await at.messages(RAW_TELEMETRY)
        assert message.value == body
        told = "zipkin_proto" if content_type == PROTOBUF else "zipkin_json"
        assert message.headers["format"] == told


async def test_gzip_is_undone(tmp_path: Path) -> None:
    body = orjson.dumps(zipkin(3))
    async with running(tmp_path) as at:
        answer = await post(at, gzip.compress(body), content_encoding="gzip")
        assert answer.status_code == 202
        (message,) = await at.messages(RAW_TELEMETRY)
        assert message.value == body


async def test_bad_spans_are_told_and_the_others_taken(tmp_path: Path) -> None:
    spans = zipkin(3)
    spans[1]["id"] = "?"
    async with running(tmp_path) as at:
        answer = await post(at, orjson.dumps(spans))
        assert answer.status_code == 202
        assert answer.text == ("1 spans rejected: span id is not 16 hexadecimal digits; 2 taken\n")
        assert at.count("zipkin", "spans", Outcome.RECEIVED) == 3
        assert at.count("zipkin", "spans", Outcome.ACCEPTED) == 2
        assert at.reasons("zipkin", "spans") == {
            (Outcome.REJECTED, "span id is not 16 hexadecimal digits"): 1
        }
        (message,) = await at.messages(RAW_TELEMETRY)
        assert (message.headers["records"], message.headers["rejected"]) == ("3", "1")


async def test_a_body_without_a_good_span_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, orjson.dumps([{"no": "span"}]))
        assert answer.status_code == 400
        assert "not a Zipkin span" in answer.text
        assert await at.messages(RAW_TELEMETRY) == []


async def test_secrets_never_reach_the_bus(tmp_path: Path) -> None:
    spans = zipkin(1)
    spans[0]["tags"]["http.request.header.authorization"] = "Bearer geheim"
    async with running(tmp_path) as at:
        assert (await post(at, orjson.dumps(spans))).status_code == 202
        proto = list_of(spans).SerializeToString()
        assert (await post(at, proto, PROTOBUF)).status_code == 202
        messages = await at.messages(RAW_TELEMETRY)
        assert len(messages) == 2
        assert all(b"geheim" not in message.value for message in messages)


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
async def test_a_body_larger_than_a_message_is_cut(tmp_path: Path, content_type: str) -> None:
    spans = zipkin(200, pad=100)
    body = list_of(spans).SerializeToString() if content_type == PROTOBUF else orjson.dumps(spans)
    async with running(tmp_path, bus={"max_message_bytes": 16_384}) as at:
        assert (await post(at, body, content_type)).status_code == 202
        messages = await at.messages(RAW_TELEMETRY)
        assert len(messages) > 2
        assert sum(int(message.headers["records"]) for message in messages) == 200
        assert at.count("zipkin", "spans", Outcome.ACCEPTED) == 200


async def test_one_span_that_is_too_large_refuses_the_body(tmp_path: Path) -> None:
    spans = [*zipkin(2), *zipkin(1, pad=30_000)]
    async with running(tmp_path, bus={"max_message_bytes": 16_384}) as at:
        answer = await post(at, orjson.dumps(spans))
        assert answer.status_code == 413
        assert "record 3 of the body" in answer.text
        assert await at.messages(RAW_TELEMETRY) == []


@pytest.mark.parametrize(
    ("path", "content_type", "status", "told"),
    [
        ("/api/v1/spans", JSON, 404, "/api/v2/spans"),
        ("/api/v2/spans", "application/x-thrift", 415, "application/json"),
    ],
)
async def test_what_is_not_taken_says_what_would_be(
    tmp_path: Path, path: str, content_type: str, status: int, told: str
) -> None:
    async with running(tmp_path) as at:
        answer = await post(at, b"[]", content_type, path)
        assert answer.status_code == status
        assert told in answer.text


async def test_the_token_is_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, intake={"token": "geheim"}) as at:
        assert (await post(at, b"[]")).status_code == 401
        assert (await post(at, b"[]", authorization="Bearer geheim")).status_code == 202


async def test_json_has_a_limit_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path, zipkin={"max_json_bytes": 2000}) as at:
        assert (await post(at, orjson.dumps(zipkin(20)))).status_code == 413
        assert (await post(at, list_of(zipkin(20)).SerializeToString(), PROTOBUF)).is_success
