"""Kong's http-log and what Apigee's proxies post: bodies in every layout, and honest answers."""

import asyncio
import gzip
from pathlib import Path

import httpx
import orjson
import pytest

from collectors.receive.apigee_http import APIGEE_HTTP
from collectors.receive.kong_http_log import KONG_HTTP_LOG
from pipeline.decode import DECODERS
from pipeline.decode.gates.line_gate import admit_lines
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.jobs.decoding import decode_messages, quarantine_rows
from pipeline.model.ledger import Outcome
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.pipeline.decode.gateway_rows import rows
from tests.recordings import shared

pytestmark = pytest.mark.anyio

GOLDEN = Path(__file__).parents[2] / "pipeline/decode/golden"
ANYWHERE = {"address": "127.0.0.1:0"}
WEBHOOKS = [
    pytest.param(KONG_HTTP_LOG, 4, 2, id="kong"),
    pytest.param(APIGEE_HTTP, 4, 1, id="apigee"),
]
"""Each with how many good and bad records its golden file has."""
SAMPLES = {
    "kong_http_log": "samples/gateways/kong-http-log-record-3.8.json",
    "apigee_http": "samples/gateways/apigee-cloud-logging-entry.json",
}
JSON = {"content-type": "application/json"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def here(webhook, **more):
    """Settings by which it listens on a free port."""
    return {webhook.source: {**ANYWHERE, **more}}


async def post(
    at: Bench, webhook, body: bytes, headers=None, *, path: str = "", method: str = "POST"
) -> httpx.Response:
    url = f"http://{at.collectors.addresses[webhook.source]}{path or webhook.path}"
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.request(
            method, url, content=body, headers=JSON if headers is None else headers
        )


def lines_of(webhook) -> list[bytes]:
    return (GOLDEN / f"{webhook.format}.in.jsonl").read_bytes().splitlines()


def outcomes(at: Bench, webhook) -> dict[str, int]:
    return {
        outcome.value: records
        for outcome in Outcome
        if (records := at.count(webhook.source, "access_logs", outcome))
    }


@pytest.mark.parametrize(("webhook", "good", "bad"), WEBHOOKS)
@pytest.mark.parametrize("form", ["one", "array of one", "array", "indented", "lines", "gzip"])
async def test_bodies_in_every_layout_are_on_the_bus_as_they_came(
    tmp_path: Path, webhook, good: int, bad: int, form: str
) -> None:
    records = [orjson.loads(line) for line in lines_of(webhook)[:good]]
    body, count = {
        "one": (orjson.dumps(records[0]), 1),
        "array of one": (orjson.dumps(records[:1]), 1),
        "array": (orjson.dumps(records), good),
        "indented": (orjson.dumps(records, option=orjson.OPT_INDENT_2), good),
        "lines": (b"\n".join(lines_of(webhook)[:good]) + b"\n", good),
        "gzip": (gzip.compress(orjson.dumps(records)), good),
    }[form]
    headers = {**JSON, "content-encoding": "gzip"} if form == "gzip" else JSON
    kept = {"personal_data": "keep"}
    async with running(tmp_path, intake=kept, **here(webhook)) as at:
        answer = await post(at, webhook, body, headers)
        assert answer.status_code == 200
        assert answer.json() == {"accepted": count}
        (message,) = await at.messages(RAW_TELEMETRY)
        assert outcomes(at, webhook) == {"received": count, "accepted": count}
    plain = gzip.decompress(body) if form == "gzip" else body
    assert message.value == admit_lines(webhook.format, plain, MaskedKeys()).body
    assert message.headers["format"] == webhook.format
    assert message.headers["source"] == webhook.source
    found = rows(decode_messages([message]))
    assert found == rows(DECODERS[webhook.format](lines_of(webhook)[:count]))


@pytest.mark.parametrize(("webhook", "good", "bad"), WEBHOOKS)
async def test_bad_records_are_quarantined_and_keep_nothing_back(
    tmp_path: Path, webhook, good: int, bad: int
) -> None:
    body = b"\n".join(lines_of(webhook))
    async with running(tmp_path, **here(webhook)) as at:
        answer = await post(at, webhook, body)
        assert answer.status_code == 200
        told = answer.json()
        assert (told["accepted"], told["quarantined"]) == (good, bad)
        assert told["reason"]
        (message,) = await at.messages(RAW_TELEMETRY)
        assert outcomes(at, webhook) == {"received": good + bad, "accepted": good + bad}
    decoded = decode_messages([message])
    assert decoded.batches["access_logs"].num_rows == good
    quarantined = quarantine_rows(decoded.refused)
    assert sum(quarantined["records"].to_pylist()) == bad
    assert set(quarantined["source"].to_pylist()) == {webhook.source}


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
@pytest.mark.parametrize("body", [b'{"hello":1}', b"[1,2]", b'{"cut off":', b'[{"a":'])
async def test_a_body_of_which_nothing_is_good_is_kept_in_quarantine(
    tmp_path: Path, webhook, body: bytes
) -> None:
    async with running(tmp_path, **here(webhook)) as at:
        answer = await post(at, webhook, body)
        assert answer.status_code == 200
        assert answer.json()["accepted"] == 0
        (message,) = await at.messages(RAW_TELEMETRY)
        assert message.value == body
        assert outcomes(at, webhook)["accepted"] == answer.json()["quarantined"]
    assert decode_messages([message]).refused


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
@pytest.mark.parametrize("body", [b"hello", b"\xff\xfe", b"  7", b'\n"text"', bytes(9)])
async def test_what_is_no_json_of_records_is_refused_with_its_place(
    tmp_path: Path, webhook, body: bytes
) -> None:
    async with running(tmp_path, **here(webhook)) as at:
        answer = await post(at, webhook, body)
        assert answer.status_code == 400
        assert f"at byte {len(body) - len(body.lstrip())}" in answer.text
        assert await at.messages(RAW_TELEMETRY) == []
        assert outcomes(at, webhook) == {"received": 1, "rejected": 1}


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
async def test_recorded_records(tmp_path: Path, webhook) -> None:
    body = shared(SAMPLES[webhook.source]).read_bytes()
    async with running(tmp_path, **here(webhook)) as at:
        assert (await post(at, webhook, body)).json() == {"accepted": 1}


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
async def test_methods_paths_and_content_types(tmp_path: Path, webhook) -> None:
    body = lines_of(webhook)[0]
    async with running(tmp_path, **here(webhook)) as at:
        for method in ("POST", "PUT", "PATCH", "GET", "DELETE"):
            answer = await post(at, webhook, body, method=method)
            allowed = method in webhook.methods
            assert answer.status_code == (200 if allowed else 405)
            assert allowed or answer.headers["allow"] == ", ".join(webhook.methods)
        answer = await post(at, webhook, body, path="/")
        assert (answer.status_code, webhook.path in answer.text) == (404, True)
        for told, status in (
            ("application/json; charset=utf-8", 200),
            ("application/x-ndjson", 200),
            ("application/vnd.acme+json", 200),
            ("text/plain", 415),
            ("", 415),
        ):
            headers = {"content-type": told} if told else {}
            assert (await post(at, webhook, body, headers)).status_code == status, told


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
async def test_who_does_not_carry_the_token_is_refused(tmp_path: Path, webhook) -> None:
    body = lines_of(webhook)[0]
    async with running(tmp_path, intake={"token": "s3cret"}, **here(webhook)) as at:
        refused = await post(at, webhook, body)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        carried = {**JSON, "authorization": "Bearer s3cret"}
        assert (await post(at, webhook, body, carried)).status_code == 200


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
async def test_limits(tmp_path: Path, webhook) -> None:
    big = orjson.dumps([orjson.loads(lines_of(webhook)[0])] * 100)
    limits = {"max_body_bytes": len(big) - 1, "max_decompressed_bytes": len(big) - 1}
    packed = {**JSON, "content-encoding": "gzip"}
    async with running(tmp_path, **here(webhook, **limits)) as at:
        assert (await post(at, webhook, big)).status_code == 413
        assert (await post(at, webhook, gzip.compress(big), packed)).status_code == 413
        assert (await post(at, webhook, gzip.compress(bytes(50 << 20)), packed)).status_code == 413
        assert at.reasons(webhook.source, "access_logs") == {(Outcome.REJECTED, "too large"): 3}
        assert (await post(at, webhook, lines_of(webhook)[0])).status_code == 200


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
async def test_a_batch_larger_than_a_message_is_cut(tmp_path: Path, webhook) -> None:
    body = orjson.dumps([orjson.loads(lines_of(webhook)[0])] * 300)
    async with running(tmp_path, bus={"max_message_bytes": 20_000}, **here(webhook)) as at:
        assert (await post(at, webhook, body)).json() == {"accepted": 300}
        messages = await at.messages(RAW_TELEMETRY)
    assert len(messages) > 5
    assert sum(int(message.headers["records"]) for message in messages) == 300
    assert decode_messages(messages).batches["access_logs"].num_rows == 300


async def test_secrets_are_masked_before_the_bus(tmp_path: Path) -> None:
    secret = "Zq3x9SECRETv7Lm"
    record = orjson.loads(lines_of(KONG_HTTP_LOG)[0])
    record["request"]["headers"] |= {"apikey": secret, "cookie": f"a={secret}"}
    record["request"]["uri"] = f"/a?token={secret}"
    async with running(tmp_path, **here(KONG_HTTP_LOG)) as at:
        assert (await post(at, KONG_HTTP_LOG, orjson.dumps([record]))).status_code == 200
        (message,) = await at.messages(RAW_TELEMETRY)
    assert secret.encode() not in message.value


async def test_two_webhooks_at_once_do_not_mix(tmp_path: Path) -> None:
    kong, apigee = lines_of(KONG_HTTP_LOG)[0], lines_of(APIGEE_HTTP)[0]
    async with running(tmp_path, **here(KONG_HTTP_LOG), **here(APIGEE_HTTP)) as at:
        sending = [
            *(post(at, KONG_HTTP_LOG, kong) for _ in range(20)),
            *(post(at, APIGEE_HTTP, apigee) for _ in range(20)),
        ]
        assert {answer.status_code for answer in await asyncio.gather(*sending)} == {200}
        assert outcomes(at, KONG_HTTP_LOG) == outcomes(at, APIGEE_HTTP)
        assert outcomes(at, KONG_HTTP_LOG)["accepted"] == 20
