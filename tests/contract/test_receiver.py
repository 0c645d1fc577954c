"""What every receiver promises to its senders; a way to send is one more entry of SENDERS."""

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cramjam
import grpc
import httpx
import orjson
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from pipeline.errors import InvalidInput
from pipeline.model.ledger import Outcome
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_SPANS, RAW_TELEMETRY
from tests.collectors import firehose
from tests.collectors.bench import Bench, running
from tests.collectors.firehose import ANYWHERE
from tests.collectors.payloads import apigee, kong_body, traces, zipkin
from tests.pipeline.decode.remote_messages import Told as Series, request, request_2
from tests.zipkin_pb import list_of

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Told:
    """What a sender was told: yes, or no with a reason and perhaps when to come back."""

    yes: bool
    again: bool = False
    retry_after: float | None = None
    text: str = ""


async def send_http(bench: Bench, body: bytes) -> Told:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"{bench.http}/v1/traces",
            content=body,
            headers={"content-type": "application/x-protobuf"},
        )
    if answer.status_code == 200:
        return Told(yes=True)
    status = Status.FromString(answer.content)
    retry_after = answer.headers.get("retry-after")
    return Told(
        yes=False,
        again=answer.status_code in {429, 502, 503, 504},
        retry_after=float(retry_after) if retry_after else None,
        text=status.message,
    )


async def send_grpc(bench: Bench, body: bytes) -> Told:
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(bench.grpc, options=options) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        try:
            await export(body, timeout=30)
        except grpc.aio.AioRpcError as error:
            return told_no(error)
    return Told(yes=True)


def told_no(error: grpc.aio.AioRpcError) -> Told:
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    retry_after = None
    if details is not None:
        for detail in Status.FromString(details).details:
            retry = RetryInfo()
            if detail.Unpack(retry):
                retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    again = error.code() == grpc.StatusCode.UNAVAILABLE or (
        error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and retry_after is not None
    )
    return Told(yes=False, again=again, retry_after=retry_after, text=error.details() or "")


async def send_zipkin(bench: Bench, body: bytes, content_type: str) -> Told:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"http://{bench.collectors.addresses['zipkin']}/api/v2/spans",
            content=body,
            headers={"content-type": content_type},
        )
    retry_after = answer.headers.get("retry-after")
    return Told(
        yes=answer.status_code == 202,
        again=answer.status_code in {429, 503},
        retry_after=float(retry_after) if retry_after else None,
        text=answer.text,
    )


async def send_webhook(bench: Bench, body: bytes, source: str, path: str) -> Told:
    return answered(await posted(bench, source, path, body, {"content-type": "application/json"}))


async def send_firehose(bench: Bench, body: bytes) -> Told:
    return answered(await posted(bench, "firehose", "/firehose", body, firehose.headers_of()))


async def posted(
    bench: Bench, source: str, path: str, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        url = f"http://{bench.collectors.addresses[source]}{path}"
        return await client.post(url, content=body, headers=headers)


def answered(answer: httpx.Response) -> Told:
    retry_after = answer.headers.get("retry-after")
    return Told(
        yes=answer.status_code == 200,
        again=answer.status_code in {429, 503},
        retry_after=float(retry_after) if retry_after else None,
        text=answer.text,
    )


async def send_remote_write(bench: Bench, body: bytes, proto: str) -> Told:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"http://{bench.collectors.addresses['remote_write']}/api/v1/write",
            content=bytes(cramjam.snappy.compress_raw(body)),
            headers={
                "content-type": f"application/x-protobuf;proto={proto}",
                "content-encoding": "snappy",
            },
        )
    retry_after = answer.headers.get("retry-after")
    return Told(
        yes=answer.status_code == 204,
        again=answer.status_code == 503,
        retry_after=float(retry_after) if retry_after else None,
        text=answer.text,
    )


def remote_write_body(samples: int, pad: int = 0, *, proto: str) -> bytes:
    told = [
        Series({"__name__": "a_total", "pad": f"{n}{'x' * pad}"}, [(1.0, 1_764_000_000_000)])
        for n in range(samples)
    ]
    message = request_2(told) if "v2" in proto else request(told)
    return bytes(message.SerializeToString())


def otlp_body(spans: int, pad: int = 0) -> bytes:
    return traces(spans, pad=pad).SerializeToString()


def zipkin_json_body(spans: int, pad: int = 0) -> bytes:
    return orjson.dumps(zipkin(spans, pad=pad))


def zipkin_proto_body(spans: int, pad: int = 0) -> bytes:
    return list_of(zipkin(spans, pad=pad)).SerializeToString()


def apigee_body(records: int, pad: int = 0) -> bytes:
    return b"".join(
        orjson.dumps(apigee(number, pad=pad), option=orjson.OPT_APPEND_NEWLINE)
        for number in range(records)
    )


def firehose_body(records: int, pad: int = 0) -> bytes:
    return firehose.body_of(
        [firehose.access_log(number, path="/" + "x" * pad) + b"\n" for number in range(records)]
    )


def firehose_lines(body: bytes) -> bytes:
    return b"".join(base64.b64decode(record["data"]) for record in orjson.loads(body)["records"])


def with_unknown_member(body: bytes) -> bytes:
    return body.replace(b"{", b'{"nobody":{"knows":[1]},', 1)


UNKNOWN_FIELD = struct.pack("<BBBH", 0xFA, 0x3F, 2, 7)


@dataclass(frozen=True)
class Sender:
    """A way to send records, and the name under which the receiver counts them.

    Attributes:
        source: the receiver's name, and that of its section.
        send: sends a body, answers what was told.
        topic: where it goes.
        format: the format of the body.
        signal: what its records are.
        body: a body of so many records, each with so much padding.
        kept: what of a body is on the bus.
        nothing: a body without records.
        limit: name of the setting that limits a body.
        unknown: the same body with something in it that nobody knows.
    """

    source: str
    send: Callable[[Bench, bytes], Awaitable[Told]]
    topic: str = OTLP_SPANS
    format: str = "otlp_traces"
    signal: str = "spans"
    body: Callable[..., bytes] = otlp_body
    kept: Callable[[bytes], bytes] = bytes
    nothing: bytes = b""
    limit: str = "max_body_bytes"
    unknown: Callable[[bytes], bytes] = lambda body: body + UNKNOWN_FIELD


SENDERS = [
    pytest.param(Sender("otlp_http", send_http), id="otlp_http"),
    pytest.param(Sender("otlp_grpc", send_grpc, limit="max_message_bytes"), id="otlp_grpc"),
    pytest.param(
        Sender(
            "zipkin",
            partial(send_zipkin, content_type="application/json"),
            topic=RAW_TELEMETRY,
            format="zipkin_json",
            body=zipkin_json_body,
            unknown=lambda body: body.replace(b'"traceId"', b'"nobody":{"knows":[1]},"traceId"', 1),
        ),
        id="zipkin_json",
    ),
    pytest.param(
        Sender(
            "zipkin",
            partial(send_zipkin, content_type="application/x-protobuf"),
            topic=RAW_TELEMETRY,
            format="zipkin_proto",
            body=zipkin_proto_body,
        ),
        id="zipkin_proto",
    ),
    pytest.param(
        Sender(
            "kong_http_log",
            partial(send_webhook, source="kong_http_log", path="/kong"),
            topic=RAW_TELEMETRY,
            format="kong_json",
            signal="access_logs",
            body=kong_body,
            unknown=with_unknown_member,
        ),
        id="kong_http_log",
    ),
    pytest.param(
        Sender(
            "apigee_http",
            partial(send_webhook, source="apigee_http", path="/apigee"),
            topic=RAW_TELEMETRY,
            format="apigee",
            signal="access_logs",
            body=apigee_body,
            unknown=with_unknown_member,
        ),
        id="apigee_http",
    ),
    pytest.param(
        Sender(
            "firehose",
            send_firehose,
            topic=RAW_TELEMETRY,
            format="aws_apigateway",
            signal="access_logs",
            body=firehose_body,
            kept=firehose_lines,
            nothing=firehose.body_of([]),
            unknown=with_unknown_member,
        ),
        id="firehose",
    ),
    *(
        pytest.param(
            Sender(
                "remote_write",
                partial(send_remote_write, proto=proto),
                topic=RAW_TELEMETRY,
                format=name,
                body=partial(remote_write_body, proto=proto),
                limit="max_decompressed_bytes",
                signal="metric_points",
            ),
            id=name,
        )
        for name, proto in (
            ("remote_write", "prometheus.WriteRequest"),
            ("remote_write_2", "io.prometheus.write.v2.Request"),
        )
    ),
]
SECTIONS = (
    "otlp_http", "otlp_grpc", "zipkin", "kong_http_log", "apigee_http", "firehose", "remote_write",
)  # fmt: skip
LISTENERS = (*SECTIONS, "apigee_syslog")
"""Sections of receivers that have an address; syslog has no answers that could be tested here."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=SENDERS)
def sender(request: pytest.FixtureRequest) -> Sender:
    return request.param


Running = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def bench(tmp_path: Path) -> Running:
    def settled(**sections: dict[str, object]) -> AbstractAsyncContextManager[Bench]:
        places = {name: ANYWHERE | sections.get(name, {}) for name in SECTIONS}
        return running(tmp_path, **(sections | places))

    return settled


async def test_yes_means_it_is_on_the_bus_as_it_was_sent(sender: Sender, bench: Running) -> None:
    body = sender.body(7)
    async with bench() as at:
        assert (await sender.send(at, body)).yes
        (message,) = await at.messages(sender.topic)
        assert message.value == sender.kept(body)
        assert message.headers["format"] == sender.format
        assert message.headers["source"] == sender.source
        assert message.headers["records"] == "7"
        assert int(message.headers["received_at"]) > 1_700_000_000_000_000_000
        assert at.count(sender.source, sender.signal, Outcome.ACCEPTED) == 7


async def test_yes_is_not_said_before_it_is_durable(sender: Sender, bench: Running) -> None:
    async with bench() as at:
        at.bus.gate.clear()
        sending = asyncio.create_task(sender.send(at, sender.body(1)))
        while not at.bus.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not sending.done()
        at.bus.gate.set()
        assert (await sending).yes


async def test_what_was_told_yes_is_there_after_a_restart(sender: Sender, bench: Running) -> None:
    async with bench() as at:
        told = await asyncio.gather(*(sender.send(at, sender.body(n)) for n in range(1, 20)))
        assert all(one.yes for one in told)
    async with bench() as at:
        records = [int(m.headers["records"]) for m in await at.messages(sender.topic)]
        assert sorted(records) == list(range(1, 20))


async def test_a_full_bus_says_when_to_come_back(sender: Sender, bench: Running) -> None:
    body = sender.body(100, pad=300)
    async with bench(bus={"max_bytes": 100_000, "retry_after_seconds": 2}) as at:
        told = [await sender.send(at, body) for _ in range(5)]
        taken = sum(one.yes for one in told)
        assert [one.yes for one in told] == [True] * taken + [False] * (5 - taken)
        assert 0 < taken < 5
        assert told[-1].again
        assert told[-1].retry_after == 2
        assert len(await at.messages(sender.topic)) == taken
        assert at.reasons(sender.source, sender.signal) == {
            (Outcome.REJECTED, "bus full"): 100 * (5 - taken)
        }
        await at.bus.consumed({Partition(sender.topic): taken})
        assert (await sender.send(at, body)).yes


async def test_a_stopped_bus_says_come_back_later(sender: Sender, bench: Running) -> None:
    async with bench() as at:
        await at.bus.stop()
        told = await sender.send(at, sender.body(1))
        assert not told.yes
        assert told.again
        assert told.retry_after


async def test_too_much_under_way_says_come_back_later(sender: Sender, bench: Running) -> None:
    body = sender.body(100, pad=300)
    async with bench(intake={"max_in_flight_bytes": 60_000}) as at:
        at.bus.gate.clear()
        sending = [asyncio.create_task(sender.send(at, body)) for _ in range(4)]
        refused = 0
        for finished in asyncio.as_completed(sending):
            told = await finished
            if not told.yes:
                assert told.again
                assert told.retry_after
                refused += 1
                if refused == 3:
                    at.bus.gate.set()
        assert refused == 3
        assert (await sender.send(at, body)).yes


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"\x0a\x05ab", b"hello, world", b"\x0a\xff\xff\xff\xff\x0f", bytes(100)],
    ids=["tag", "short", "text", "huge", "zeros"],
)
async def test_malformed_bytes_are_refused_for_good_naming_the_offset(
    sender: Sender, bench: Running, body: bytes
) -> None:
    async with bench() as at:
        told = await sender.send(at, body)
        assert not told.yes
        assert not told.again
        assert "at byte " in told.text
        assert await at.messages(sender.topic) == []
        assert at.count(sender.source, sender.signal, Outcome.REJECTED) == 1
        assert (await sender.send(at, sender.body(1))).yes


async def test_too_large_is_refused_for_good(sender: Sender, bench: Running) -> None:
    async with bench(**{sender.source: {sender.limit: 50_000}}) as at:
        told = await sender.send(at, sender.body(1, pad=60_000))
        assert not told.yes
        assert not told.again
        assert "50000" in told.text or "larger than max" in told.text
        assert (await sender.send(at, sender.body(1))).yes


async def test_nothing_at_all_is_a_success_and_no_message(sender: Sender, bench: Running) -> None:
    async with bench() as at:
        assert (await sender.send(at, sender.nothing)).yes
        assert await at.messages(sender.topic) == []


async def test_unknown_fields_are_taken_and_kept(sender: Sender, bench: Running) -> None:
    body = sender.unknown(sender.body(1))
    async with bench() as at:
        assert (await sender.send(at, body)).yes
        (message,) = await at.messages(sender.topic)
        assert message.value == sender.kept(body)


async def test_stopping_finishes_what_was_taken_and_refuses_the_rest(
    sender: Sender, bench: Running
) -> None:
    async with bench() as at:
        at.bus.gate.clear()
        taken = asyncio.create_task(sender.send(at, sender.body(3)))
        while not at.bus.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(at.collectors.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        late = asyncio.create_task(refused_or_unreachable(sender, at))
        assert await late
        at.bus.gate.set()
        assert (await taken).yes
        await stopping
        await at.collectors.stop()
        (message,) = await at.messages(sender.topic)
        assert message.headers["records"] == "3"


async def refused_or_unreachable(sender: Sender, at: Bench) -> bool:
    try:
        told = await sender.send(at, sender.body(1))
    except httpx.TransportError:
        return True
    return told.again


async def test_addresses_tell_the_real_port_and_are_free_again(bench: Running) -> None:
    free = {name: {"address": "127.0.0.1:0"} for name in LISTENERS}
    async with bench(**free) as at:
        addresses = dict(at.collectors.addresses)
        assert all(int(address.rpartition(":")[2]) > 0 for address in addresses.values())
    async with bench(**{name: {"address": addresses[name]} for name in LISTENERS}) as at:
        assert dict(at.collectors.addresses) == addresses


@pytest.mark.parametrize("name", LISTENERS)
async def test_an_address_in_use_is_a_clear_refusal(
    bench: Running, tmp_path: Path, name: str
) -> None:
    async with bench(**{name: {"address": "127.0.0.1:0"}}) as at:
        taken = at.collectors.addresses[name]
        with pytest.raises(InvalidInput, match="port 0 picks a free one") as refused:
            async with running(tmp_path / "second", **{name: {"address": taken}}):
                pass
        assert refused.value.field == f"{name}_address"


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.com:0"])
async def test_beyond_loopback_needs_a_token(tmp_path: Path, name: str, address: str) -> None:
    with pytest.raises(InvalidInput, match=r"MESHWEIR_(INTAKE_TOKEN|FIREHOSE_ACCESS_KEY)"):
        async with running(tmp_path, **{name: {"address": address}}):
            pass


@pytest.mark.parametrize("address", ["4318", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:1"])
async def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidInput, match="HOST:PORT"):
        async with running(tmp_path, otlp_http={"address": address}):
            pass
