"""Requests of Amazon Data Firehose as its HTTP endpoint protocol has them, and what is in them."""

import base64
import gzip
from collections.abc import Mapping, Sequence

import httpx
import orjson

from tests.collectors.bench import Bench

ANYWHERE = {"address": "127.0.0.1:0"}
REQUEST_ID = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f"
JSON = "application/json"


def access_log(number: int = 0, **more: object) -> bytes:
    """A line of a REST API's access log."""
    return orjson.dumps(
        {
            "requestId": f"r{number}",
            "apiId": "a1b2c3",
            "stage": "prod",
            "requestTimeEpoch": str(1_764_172_800_000 + number),
            "httpMethod": "GET",
            "resourcePath": "/pets",
            "status": "200",
            "responseLatency": "12",
            **more,
        }
    )


def cloudwatch_logs(*lines: bytes, kind: str = "DATA_MESSAGE") -> bytes:
    """What a subscription of CloudWatch Logs puts on the stream: JSON in gzip."""
    return gzip.compress(
        orjson.dumps(
            {
                "messageType": kind,
                "owner": "123456789012",
                "logGroup": "apigw",
                "logStream": "s",
                "subscriptionFilters": ["f"],
                "logEvents": [
                    {"id": str(number), "timestamp": 1_764_172_800_000, "message": line.decode()}
                    for number, line in enumerate(lines)
                ],
            }
        )
    )


def control() -> bytes:
    """By this CloudWatch Logs asks whether anybody is there."""
    text = b"CWL CONTROL MESSAGE: Checking health of destination Firehose."
    return cloudwatch_logs(text, kind="CONTROL_MESSAGE")


def body_of(records: Sequence[bytes], request_id: str = REQUEST_ID) -> bytes:
    """A request with these records."""
    data = [{"data": base64.b64encode(record).decode()} for record in records]
    return orjson.dumps({"requestId": request_id, "timestamp": 1_764_172_860_000, "records": data})


def headers_of(request_id: str = REQUEST_ID, **more: str) -> dict[str, str]:
    """The headers of a request; names of further ones are written with underscores."""
    return {
        "X-Amz-Firehose-Protocol-Version": "1.0",
        "X-Amz-Firehose-Request-Id": request_id,
        "X-Amz-Firehose-Source-Arn": "arn:aws:firehose:eu-west-1:123456789012:deliverystream/apigw",
        "X-Amz-Firehose-Common-Attributes": '{"commonAttributes":{"env":"prod"}}',
        "Content-Type": JSON,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


async def post(
    bench: Bench,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    path: str = "/firehose",
    method: str = "POST",
) -> httpx.Response:
    """Send a request."""
    url = f"http://{bench.collectors.addresses['firehose']}{path}"
    async with httpx.AsyncClient(timeout=30) as client:
        told = headers_of() if headers is None else headers
        return await client.request(method, url, content=body, headers=told)
