"""Secrets planted in every field of what API gateways write are in no message and in no row."""

import base64
import gzip
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.decode import DECODERS
from pipeline.decode.gates.line_gate import admit_lines
from pipeline.decode.privacy.masking import MaskedKeys
from tests.pipeline.decode.gateway_rows import rows

HERE = Path(__file__).parent
FORMATS = ("kong_json", "aws_apigateway", "apigee")
SECRET = "hunter2hunter2"
MASKED = MaskedKeys()
PLANTED = (
    f"Bearer {SECRET}",
    f"/path?apikey={SECRET}&x=1",
    f"https://user:{SECRET}@host/p?access_token={SECRET}",
    f"a=1&client_secret={SECRET}#sig={SECRET}",
    f'{{"password":"{SECRET}"}}',
)
HEADERS = (
    "authorization", "proxy-authorization", "cookie", "apikey", "x-api-key", "x-auth-token",
    "x-amz-security-token", "x-access-token", "x-csrf-token", "x-goog-api-key",
)  # fmt: skip
NAMED: dict[str, list[tuple[str, ...]]] = {
    "kong_json": [
        *(("request", "headers", name) for name in HEADERS),
        ("response", "headers", "set-cookie"),
        *(
            ("request", "querystring", name)
            for name in ("apikey", "key", "token", "secret", "password", "sig", "jwt")
        ),
    ],
    "aws_apigateway": [
        ("apiKey",), ("identity.apiKey",), ("identity", "apiKey"), ("api_key",),
        ("identity", "accessKey"), ("identity", "clientCert", "clientCertPem"),
        ("clientCertPem",), ("authorizer", "access_token"), ("authorizationToken",),
    ],
    "apigee": [
        ("client_id",), ("access_token",), ("client_secret",), ("message.content",),
        ("request.content",), ("response.content",), ("request.querystring",),
        ("request.header.authorization.values",), ("request.queryparam.apikey",),
        *((f"request.header.{name}",) for name in HEADERS),
        *(("jsonPayload", f"request.header.{name}") for name in HEADERS),
    ],
}  # fmt: skip


def record(name: str, number: int = 0) -> dict[str, Any]:
    lines = (HERE / f"golden/{name}.in.jsonl").read_bytes().splitlines()
    found = orjson.loads(lines[number])
    assert isinstance(found, dict)
    return found


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict | list):
            yield from leaves(inner, (*path, key))
        else:
            yield (*path, key)


def planted(value: dict[str, Any], path: tuple[Any, ...], secret: object) -> dict[str, Any]:
    changed: Any = deepcopy(value)
    holder = changed
    for key in path[:-1]:
        holder = holder[key] if isinstance(holder, list) else holder.setdefault(key, {})
    holder[path[-1]] = secret
    found: dict[str, Any] = changed
    return found


def check(name: str, message: bytes) -> None:
    assert SECRET.encode() in message or b"H4sI" in message or message.startswith(b"\x1f\x8b")
    admitted = admit_lines(name, message, MASKED)
    assert SECRET.encode() not in admitted.body, admitted.body
    assert SECRET not in str(rows(DECODERS[name]([admitted.body])))
    assert SECRET not in str(admitted.refused)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("secret", PLANTED, ids=range(len(PLANTED)))
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(name, secret):
    for number in range(3):
        whole = record(name, number)
        for path in leaves(whole):
            check(name, orjson.dumps(planted(whole, path, secret)))


@pytest.mark.parametrize("name", FORMATS)
def test_values_under_the_names_of_secrets_are_masked(name):
    for path in NAMED[name]:
        for secret in (SECRET, [SECRET, "x"], {"first": SECRET}, f'"{SECRET}\\'):
            message = orjson.dumps(planted(record(name), path, secret))
            check(name, message)
            check(name, message.replace(b"/", b"\\/"))


@pytest.mark.parametrize("name", FORMATS)
def test_the_decoder_alone_keeps_nothing_that_is_named_like_a_secret(name):
    for path in NAMED[name]:
        message = orjson.dumps(planted(record(name), path, SECRET))
        assert SECRET not in str(rows(DECODERS[name]([message])))


def test_kongs_queries_are_masked_in_all_the_fields_that_repeat_them():
    whole = record("kong_json")
    for path in (("request", "uri"), ("request", "url"), ("upstream_uri",)):
        for query in (f"?apikey={SECRET}", f"?a=1&key={SECRET}&b=2", f"?X-Amz-Signature={SECRET}"):
            check("kong_json", orjson.dumps(planted(whole, path, "/orders" + query)))


def test_secrets_inside_of_payloads_of_cloudwatch_logs_are_masked():
    whole = planted(record("aws_apigateway"), ("identity", "apiKey"), SECRET)
    document = orjson.dumps(
        {
            "messageType": "DATA_MESSAGE",
            "logGroup": "g",
            "logEvents": [{"id": "1", "timestamp": 1, "message": orjson.dumps(whole).decode()}],
        }
    )
    packed = gzip.compress(document)
    for message in (
        document,
        packed,
        orjson.dumps({"awslogs": {"data": base64.b64encode(packed).decode()}}),
    ):
        check("aws_apigateway", message)
        assert admit_lines("aws_apigateway", message, MASKED).records == 1


def test_secrets_in_columns_of_csv_are_masked():
    header = b"apiproxy,client_received_start_timestamp,response_status_code,access_token,client_id"
    row = f"orders,1764172800123,200,{SECRET},{SECRET}".encode()
    check("apigee", header + b"\n" + row + b"\n")
    assert admit_lines("apigee", header + b"\n" + row + b"\n", MASKED).records == 1


def test_ids_of_keys_are_not_secret():
    admitted = admit_lines("aws_apigateway", orjson.dumps(record("aws_apigateway")), MASKED)
    (row,) = rows(DECODERS["aws_apigateway"]([admitted.body]))
    assert row["consumer"] == "key:k7xq"


@pytest.mark.parametrize("name", FORMATS)
def test_masking_loses_no_record(name):
    message = (HERE / f"golden/{name}.in.jsonl").read_bytes()
    admitted = admit_lines(name, message, MASKED)
    assert len(admitted.body) == len(message)
    assert rows(DECODERS[name]([admitted.body])) == rows(DECODERS[name]([message]))
