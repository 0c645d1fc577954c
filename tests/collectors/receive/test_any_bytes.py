"""Whatever bytes are posted, each request is answered in its protocol, and each record counted."""

import asyncio
import tempfile
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from collectors.receive.apigee_http import APIGEE_HTTP
from collectors.receive.kong_http_log import KONG_HTTP_LOG
from pipeline.model.ledger import FlowCounts, Outcome
from tests.collectors import firehose
from tests.collectors.bench import Bench, running
from tests.collectors.payloads import kong_body
from tests.pipeline.decode.metric_streams import framed, otlp, record_of

JSON = {"content-type": "application/json"}
PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b"\n", b'"', b"\\", b"\xef\xbb\xbf", kong_body(1), kong_body(2)]
)
BODIES = st.lists(
    st.one_of(st.binary(max_size=40), st.lists(PIECES, max_size=12).map(b"".join)), max_size=12
)
WHOLE = framed(otlp("AWS/ApiGateway", "Count", {"ApiName": "shop"}).SerializeToString())
RECORDS = st.one_of(
    st.binary(max_size=40),
    st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end]),
    st.sampled_from(
        [
            firehose.access_log(),
            firehose.control(),
            firehose.cloudwatch_logs(b"x"),
            record_of("AWS/ApiGateway", "Count", {}),
        ]
    ),
)


async def posted(
    source: str, path: str, bodies: list[bytes], headers: dict[str, str]
) -> tuple[list[int], list[FlowCounts]]:
    """The statuses of the answers, and what was counted."""
    with tempfile.TemporaryDirectory() as directory:
        async with running(Path(directory), **{source: firehose.ANYWHERE}) as at:
            statuses = await _sent(at, source, path, bodies, headers)
            return statuses, list(at.ledger.snapshot().values())


async def _sent(
    at: Bench, source: str, path: str, bodies: list[bytes], headers: dict[str, str]
) -> list[int]:
    url = f"http://{at.collectors.addresses[source]}{path}"
    async with httpx.AsyncClient(timeout=30) as client:
        answers = [await client.post(url, content=body, headers=headers) for body in bodies]
    return [answer.status_code for answer in answers]


def balanced(counts: FlowCounts) -> bool:
    """Whether each record that was received ended in one way."""
    ends = (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.DROPPED)
    told = counts.outcomes
    return told.get(Outcome.RECEIVED, 0) == sum(told.get(end, 0) for end in ends)


@pytest.mark.parametrize("webhook", [KONG_HTTP_LOG, APIGEE_HTTP], ids=["kong", "apigee"])
@given(bodies=BODIES)
@settings(max_examples=12, deadline=None)
def test_any_bodies_of_webhooks(webhook, bodies: list[bytes]) -> None:
    bodies = [*bodies, b"{}", b"x"]
    statuses, counts = asyncio.run(posted(webhook.source, webhook.path, bodies, JSON))
    assert set(statuses) == {200, 400}
    assert all(map(balanced, counts))
    refused = sum(told.outcomes.get(Outcome.REJECTED, 0) for told in counts)
    assert refused == statuses.count(400)


@given(bodies=st.lists(st.lists(RECORDS, max_size=8).map(firehose.body_of), max_size=8))
@settings(max_examples=12, deadline=None)
def test_any_records_of_firehose_are_acknowledged(bodies: list[bytes]) -> None:
    bodies = [firehose.body_of([b"x", WHOLE]), *bodies]
    headers = firehose.headers_of()
    statuses, counts = asyncio.run(posted("firehose", "/firehose", bodies, headers))
    assert set(statuses) == {200}
    assert all(map(balanced, counts))
    assert not any(Outcome.REJECTED in told.outcomes for told in counts)


@given(bodies=BODIES)
@settings(max_examples=8, deadline=None)
def test_any_bodies_of_firehose_are_refused(bodies: list[bytes]) -> None:
    headers = firehose.headers_of()
    statuses, counts = asyncio.run(posted("firehose", "/firehose", [*bodies, b""], headers))
    assert set(statuses) == {400}
    assert sum(told.outcomes[Outcome.REJECTED] for told in counts) == len(statuses)
