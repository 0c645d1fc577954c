"""The receiver of syslog: on real sockets, with real certificates."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from api.demo.certificates import Authority, Identity
from pipeline.errors import InvalidInput
from pipeline.jobs.decoding import decode_messages
from pipeline.model.ledger import Outcome
from pipeline.model.messages import Partition
from pipeline.model.topics import RAW_TELEMETRY
from tests.collectors.bench import Bench, running

pytestmark = pytest.mark.anyio

SOURCE = "apigee_syslog"
HEADER = b"<14>1 2025-11-26T16:00:00.123Z mp-1 apigee 4711 ML-1 - "


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def record(number: int, **more: object) -> bytes:
    told = {
        "ts": str(1_764_172_800_000 + number),
        "messageid": f"m-{number}",
        "org": "acme",
        "env": "prod",
        "proxy": "orders",
        "basepath": "/orders",
        "verb": "GET",
        "status": "200",
        "client_end": str(1_764_172_800_100 + number),
        **more,
    }
    return orjson.dumps(told)


def counted(frame: bytes) -> bytes:
    return b"%d %s" % (len(frame), frame)


def listening(tmp_path: Path, *, bus: dict | None = None, **settings: object):
    return running(tmp_path, bus=bus, apigee_syslog={"address": "127.0.0.1:0", **settings})


@asynccontextmanager
async def connected(
    at: Bench, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = at.collectors.addresses[SOURCE].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()


async def send(at: Bench, stream: bytes, context: ssl.SSLContext | None = None) -> None:
    async with connected(at, context) as (_, writer):
        writer.write(stream)
        await writer.drain()


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for is a count
            await asyncio.sleep(0.01)


def accepted(at: Bench) -> int:
    return at.count(SOURCE, "access_logs", Outcome.ACCEPTED)


async def test_it_is_off_unless_it_has_an_address(tmp_path: Path) -> None:
    async with running(tmp_path) as at:
        assert SOURCE not in at.collectors.addresses


async def test_messages_come_on_the_bus_as_lines_of_apigee_several_together(
    tmp_path: Path,
) -> None:
    stream = b"".join(
        counted(HEADER + record(number)) if number % 2 else HEADER + record(number) + b"\n"
        for number in range(20)
    )
    async with listening(tmp_path) as at:
        await send(at, stream)
        await until(lambda: accepted(at) == 20)
        messages = await at.messages(RAW_TELEMETRY)
        assert len(messages) < 20
        assert {message.headers["format"] for message in messages} == {"apigee"}
        assert {message.headers["source"] for message in messages} == {SOURCE}
        lines = b"".join(message.value for message in messages).splitlines()
        assert lines == [record(number) for number in range(20)]
        rows = decode_messages(messages).batches["access_logs"].to_pylist()
        assert [row["request_id"] for row in rows] == [f"m-{number}" for number in range(20)]


async def test_what_is_bad_is_counted_and_what_can_be_kept_goes_to_quarantine(
    tmp_path: Path,
) -> None:
    stream = b"".join(
        [
            HEADER + record(1) + b"\n",
            HEADER + b'{"messageid": "m-2"\n',
            HEADER + b"\n",
            counted(HEADER + b"x" * 5000),
            HEADER + record(3) + b"\n",
            b"50 <14>unfinished",
        ]
    )
    async with listening(tmp_path, max_frame_bytes=2000) as at:
        await send(at, stream)
        await until(lambda: at.count(SOURCE, "access_logs", Outcome.RECEIVED) == 6)
        assert accepted(at) == 3
        assert at.reasons(SOURCE, "access_logs") == {
            (Outcome.DROPPED, "malformed: no message"): 1,
            (Outcome.DROPPED, "malformed: frame longer than 2000 bytes"): 1,
            (Outcome.DROPPED, "malformed: connection ended in the middle of a frame"): 1,
        }
        decoded = decode_messages(await at.messages(RAW_TELEMETRY))
        assert decoded.batches["access_logs"].num_rows == 2
        assert sum(one.records for one in decoded.refused) == 1


async def test_a_batch_without_a_good_line_is_kept_for_quarantine_too(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        await send(at, HEADER + b"GET /orders 200\n")
        await until(lambda: accepted(at) == 1)
        (message,) = await at.messages(RAW_TELEMETRY)
        assert message.headers["rejected"] == "0"
        assert len(decode_messages([message]).refused) == 1


async def test_secrets_never_reach_the_bus(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        await send(at, HEADER + record(1, access_token="geheim") + b"\n")
        await until(lambda: accepted(at) == 1)
        (message,) = await at.messages(RAW_TELEMETRY)
        assert b"geheim" not in message.value


async def test_a_full_bus_stops_the_reading_and_loses_nothing(tmp_path: Path) -> None:
    stream = b"".join(HEADER + record(number, pad="x" * 500) + b"\n" for number in range(20_000))
    limits = {"max_bytes": 300_000, "retry_after_seconds": 0.05}
    async with listening(tmp_path, bus=limits, batch_bytes=20_000) as at, connected(at) as (_, out):
        out.transport.set_write_buffer_limits(high=1000)
        out.write(stream)
        writing = asyncio.create_task(out.drain())
        await asyncio.sleep(1.0)
        assert not writing.done()
        assert 0 < accepted(at) < 20_000
        consumed = 0
        while accepted(at) < 20_000:
            messages = await at.bus.read(
                {Partition(RAW_TELEMETRY): consumed}, max_bytes=1 << 20, wait=1
            )
            consumed += len(messages)
            await at.bus.consumed({Partition(RAW_TELEMETRY): consumed})
        await writing
        assert at.count(SOURCE, "access_logs", Outcome.RECEIVED) == 20_000
        assert at.count(SOURCE, "access_logs", Outcome.DROPPED) == 0


async def test_stopping_brings_what_is_on_its_way_to_the_bus(tmp_path: Path) -> None:
    async with listening(tmp_path, batch_seconds=60) as at, connected(at) as (_, writer):
        writer.write(b"".join(HEADER + record(number) + b"\n" for number in range(1000)))
        await writer.drain()
        await at.collectors.stop()
        assert accepted(at) == 1000
        assert len(await at.messages(RAW_TELEMETRY)) == 1


async def test_what_the_bus_never_took_is_counted_when_it_stops(tmp_path: Path) -> None:
    async with listening(tmp_path, drain_seconds=0.2, batch_seconds=0.01) as at:
        await at.bus.stop()
        await send(at, b"".join(HEADER + record(number) + b"\n" for number in range(7)))
        await asyncio.sleep(0.2)
        await at.collectors.stop()
        assert at.reasons(SOURCE, "access_logs") == {(Outcome.DROPPED, "collector stopped"): 7}


async def test_too_many_connections_are_closed_at_once(tmp_path: Path) -> None:
    async with listening(tmp_path, max_connections=2) as at:
        async with connected(at) as first, connected(at):
            first[1].write(HEADER + record(1) + b"\n")
            await until(lambda: accepted(at) == 1)
            async with connected(at) as (reader, _):
                assert await asyncio.wait_for(reader.read(), 10) == b""
        await asyncio.sleep(0.2)
        await send(at, HEADER + record(2) + b"\n")
        await until(lambda: accepted(at) == 2)


async def test_a_connection_that_says_nothing_is_closed(tmp_path: Path) -> None:
    async with listening(tmp_path, idle_seconds=0.2) as at, connected(at) as (reader, writer):
        writer.write(HEADER + record(1) + b"\n")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await until(lambda: accepted(at) == 1)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    authority = Authority(tmp_path_factory.mktemp("tls"), trust_domain="example.com")
    return authority.issue("server", "spiffe://example.com/meshweir")


def client(trusted: Identity, own: Identity | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trusted.authority))
    context.check_hostname = False  # the certificate of the demo names a SPIFFE id
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def with_tls(identity: Identity) -> dict[str, str]:
    return {"certificate_file": str(identity.certificate), "key_file": str(identity.key)}


async def test_over_tls(tmp_path: Path, identity: Identity) -> None:
    async with listening(tmp_path, **with_tls(identity)) as at:
        await send(at, counted(HEADER + record(1)), client(identity))
        await until(lambda: accepted(at) == 1)


async def is_turned_away(at: Bench, context: ssl.SSLContext) -> bool:
    try:
        async with connected(at, context) as (reader, writer):
            writer.write(HEADER + record(1) + b"\n")
            await writer.drain()
            return await reader.read() == b""
    except OSError:
        return True


async def test_with_a_client_ca_only_those_it_signed_may_send(
    tmp_path: Path, identity: Identity
) -> None:
    stranger = Authority(tmp_path / "other", trust_domain="example.org").issue("x", "spiffe://x/x")
    tls = {**with_tls(identity), "client_ca_file": str(identity.authority)}
    async with listening(tmp_path, **tls) as at:
        for context in (client(identity), client(identity, stranger)):
            assert await asyncio.wait_for(is_turned_away(at, context), 20)
        await send(at, HEADER + record(2) + b"\n", client(identity, identity))
        await until(lambda: accepted(at) == 1)
        (message,) = await at.messages(RAW_TELEMETRY)
        assert message.value == record(2) + b"\n"


async def test_beyond_loopback_senders_must_show_a_certificate_or_be_let_in(
    tmp_path: Path, identity: Identity
) -> None:
    for tls in ({}, with_tls(identity)):
        with pytest.raises(InvalidInput, match="apigee_syslog_client_ca_file"):
            async with listening(tmp_path, address="0.0.0.0:0", **tls):
                pass
    for more in (
        {"any_sender": True},
        {**with_tls(identity), "client_ca_file": str(identity.authority)},
    ):
        async with listening(tmp_path, address="0.0.0.0:0", **more) as at:
            assert at.collectors.addresses[SOURCE].startswith("0.0.0.0:")


async def test_files_that_are_no_certificates_are_refused(
    tmp_path: Path, identity: Identity
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    for files, field in (
        ({"certificate_file": str(wrong), "key_file": str(identity.key)}, "certificate_file"),
        ({**with_tls(identity), "client_ca_file": str(wrong)}, "client_ca_file"),
        ({**with_tls(identity), "key_file": str(tmp_path / "absent")}, "certificate_file"),
    ):
        with pytest.raises(InvalidInput) as refused:
            async with listening(tmp_path, **files):
                pass
        assert refused.value.field == f"apigee_syslog_{field}"


@pytest.mark.parametrize("files", [{"certificate_file": "a"}, {"client_ca_file": "a"}])
async def test_half_of_tls_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="certificate and its key"):
        async with listening(tmp_path, **files):
            pass
