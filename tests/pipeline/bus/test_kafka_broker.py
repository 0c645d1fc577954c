"""The bus on a Kafka that is killed, sleeps, loses bytes, and wants TLS and passwords."""

import asyncio
import contextlib
import gc
import ipaddress
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.demo.broker import Broker, BrokerMissing
from api.demo.broker_properties import Security
from api.demo.certificates import Identity
from pipeline.bus.kafka import KafkaBus
from pipeline.bus.settings import KafkaSettings
from pipeline.errors import BusUnavailable, InvalidInput, PartitionsMoved, Transient
from pipeline.model.messages import Message, Partition
from pipeline.model.topics import OTLP_LOGS, OTLP_SPANS

pytestmark = pytest.mark.anyio

SPANS = Partition(OTLP_SPANS)
PASSWORD = "correct horse"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def self_signed(directory: Path) -> Identity:
    """A certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir()
    identity = Identity(directory / "cert.pem", directory / "key.pem", directory / "cert.pem")
    identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    identity.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return identity


@dataclass(frozen=True)
class Own:
    """A broker of these tests' own, and the one thread that starts it, with which it would end."""

    broker: Broker
    identity: Identity
    thread: ThreadPoolExecutor

    async def start(self) -> None:
        """Start the broker again while the event loop goes on."""
        await asyncio.get_running_loop().run_in_executor(self.thread, self.broker.start)

    def settings(self, listener: str = "PLAINTEXT", **more: object) -> KafkaSettings:
        """Settings for one of its listeners, with topics of their own."""
        name = f"test-{uuid.uuid4().hex}"
        own = {"topic_prefix": f"{name}-", "group": name, "partitions": 1}
        own |= {"bootstrap_servers": (self.broker.address(listener),)}
        return KafkaSettings.model_validate(own | more)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    directory = tmp_path_factory.mktemp("broker")
    identity = self_signed(directory / "certificates")
    security = Security(identity, {"alice": PASSWORD})
    with ThreadPoolExecutor(1) as thread:
        found = Own(Broker(directory / "kafka", security=security), identity, thread)
        try:
            thread.submit(found.broker.start).result()
        except BrokerMissing as missing:
            pytest.skip(str(missing))
        yield found
        found.broker.stop()


@asynccontextmanager
async def opened(settings: KafkaSettings) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(settings)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def publish_when_back(bus: KafkaBus, value: bytes) -> None:
    """Publish, as soon as the broker takes it."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(BusUnavailable):
                await bus.publish(OTLP_SPANS, value, {})
                return


async def read_all(bus: KafkaBus, partition: Partition = SPANS) -> list[Message]:
    """All messages of a partition, as long as it may take."""
    found: list[Message] = []
    at: dict[Partition, int] = {}
    async with asyncio.timeout(60):
        while at.get(partition, 0) < bus.status().ends[partition]:
            messages = await bus.read(at, max_bytes=1 << 20, wait=0.5)
            found += messages
            at |= {message.partition: message.offset + 1 for message in messages}
    return found


async def read_on(bus: KafkaBus, found: list[bytes]) -> None:
    """Read until something is raised."""
    at: dict[Partition, int] = {}
    while True:
        messages = await bus.read(at, max_bytes=1000, wait=1)
        found += [message.value for message in messages]
        at |= {message.partition: message.offset + 1 for message in messages}


# outages


async def publish_until(
    bus: KafkaBus, name: str, over: asyncio.Event, taken: dict[bytes, int]
) -> None:
    number = 0
    while not over.is_set():
        value = f"{name}:{number}:".encode() + bytes(20_000)
        try:
            taken[value] = await bus.publish(OTLP_SPANS, value, {})
        except Transient as error:
            await asyncio.sleep(min(error.retry_after, 0.1))
        number += 1


async def read_as_member(settings: KafkaSettings, found: list[tuple[bytes, int]]) -> None:
    """Read on for ever, as one does whose positions are his own."""
    bus = KafkaBus(settings, group=settings.group)
    await bus.start()
    at: dict[Partition, int] = {}
    try:
        while True:
            with contextlib.suppress(PartitionsMoved, BusUnavailable):
                messages = await bus.read(at, max_bytes=1 << 20, wait=0.2)
                found += [(message.value, message.offset) for message in messages]
                at |= {message.partition: message.offset + 1 for message in messages}
                if messages:
                    await bus.consumed(at)
    finally:
        await bus.stop()


async def test_nothing_acknowledged_is_lost_or_doubled_when_the_broker_is_killed(own: Own) -> None:
    settings = own.settings(publish_timeout_seconds=60, pace_seconds=0)
    async with opened(settings) as bus:
        over, taken = asyncio.Event(), dict[bytes, int]()
        followed: list[tuple[bytes, int]] = []
        following = asyncio.create_task(read_as_member(settings, followed))
        publishing = [
            asyncio.create_task(publish_until(bus, str(name), over, taken)) for name in range(8)
        ]
        await asyncio.sleep(1)
        own.broker.kill()
        before = len(taken)
        await own.start()
        async with asyncio.timeout(60):
            while len(taken) < before + 200:  # noqa: ASYNC110 - until it takes again
                await asyncio.sleep(0.05)
        over.set()
        await asyncio.gather(*publishing)
        found = [(message.value, message.offset) for message in await read_all(bus)]
        async with asyncio.timeout(60):
            while len(followed) < len(found):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert followed == found
        assert before > 0
        assert dict(found) == taken
        assert len(found) == len(taken)


async def test_a_broker_that_is_away_is_told_at_once_when_no_more_can_wait(own: Own) -> None:
    settings = own.settings(publish_timeout_seconds=3, max_waiting_bytes=100_000)
    async with opened(settings) as bus:
        await bus.publish(OTLP_SPANS, b"before", {})
        own.broker.kill()
        waiting = [
            asyncio.create_task(bus.publish(OTLP_SPANS, bytes(49_000), {})) for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Transient, match="Kafka") as refused:
            await bus.publish(OTLP_SPANS, bytes(49_000), {})
        assert refused.value.retry_after > 0
        assert not any(task.done() for task in waiting)
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, BusUnavailable)
            assert "stored" in str(result)
        # its producer was given up, and there is none: what comes now is certainly not stored
        with pytest.raises(BusUnavailable, match="it was not stored"):
            await bus.publish(OTLP_SPANS, b"in vain", {})
        with pytest.raises(BusUnavailable, match="is a broker running there"):
            await KafkaBus(settings).start()
        await own.start()
        await publish_when_back(bus, b"after")
        values = [message.value for message in await read_all(bus)]
        assert values[0] == b"before"
        assert values[-1] == b"after"
        assert b"in vain" not in values
        assert bus.status().bytes_held < 50_000 * 3 + 100


async def test_a_broker_that_sleeps_leaves_the_fate_of_a_message_open(own: Own) -> None:
    async with opened(own.settings(publish_timeout_seconds=1)) as bus:
        await bus.publish(OTLP_SPANS, b"before", {})
        own.broker.pause()
        try:
            with pytest.raises(BusUnavailable, match="may be stored all the same"):
                await bus.publish(OTLP_SPANS, b"open", {})
            with pytest.raises(BusUnavailable, match="no answer in time"):
                await KafkaBus(own.settings()).start()
        finally:
            own.broker.resume()
        await publish_when_back(bus, b"after")
        values = [message.value for message in await read_all(bus)]
        assert values[0] == b"before"
        assert values[-1] == b"after"


async def test_a_broker_that_dies_while_positions_are_noted_fails_nothing(own: Own) -> None:
    async with opened(own.settings()) as bus:
        await bus.publish(OTLP_SPANS, b"before", {})
        (message,) = await read_all(bus)
        own.broker.pause()
        await bus.consumed({SPANS: message.offset + 1})
        own.broker.kill()
        await own.start()
        await publish_when_back(bus, b"after")
        gc.collect()  # an error that nobody heard of would be told now, and fail this test


async def test_bytes_that_rotted_on_the_brokers_disk_stop_one_partition_loudly(
    own: Own,
) -> None:
    settings = own.settings()
    async with opened(settings) as bus:
        for number in range(3):
            await bus.publish(OTLP_SPANS, b"number %d" % number, {})
    own.broker.stop()
    (segment,) = own.broker.directory.glob(
        f"data/{settings.topic_prefix}{OTLP_SPANS}-0/{0:020}.log"
    )
    content = bytearray(segment.read_bytes())
    content[-3] ^= 0xFF  # within the last batch
    segment.write_bytes(content)
    await own.start()
    async with opened(settings) as bus:
        await bus.publish(OTLP_LOGS, b"a log", {})
        found: list[bytes] = []
        with pytest.raises(BusUnavailable, match=r"offset 2: .*Invalid CRC.*kafka-delete-records"):
            await read_on(bus, found)
        # it is tried again, and said again
        with pytest.raises(BusUnavailable, match="Invalid CRC"):
            await bus.read({SPANS: 2, Partition(OTLP_LOGS): 1}, max_bytes=1000, wait=1)
        assert sorted(found) == [b"a log", b"number 0", b"number 1"]


# TLS and passwords

Secured = Callable[[Own, Path], dict[str, object]]


def tls(own: Own, directory: Path) -> dict[str, object]:
    return {"tls_ca_file": own.identity.authority}


def mutual_tls(own: Own, directory: Path) -> dict[str, object]:
    return {
        "tls_ca_file": own.identity.authority,
        "tls_certificate_file": own.identity.certificate,
        "tls_key_file": own.identity.key,
    }


def login(mechanism: str, password: str = PASSWORD) -> Secured:
    def given(own: Own, directory: Path) -> dict[str, object]:
        return {
            "sasl_mechanism": mechanism,
            "sasl_username": "alice",
            "sasl_password": password,
        }

    return given


def login_over_tls(own: Own, directory: Path) -> dict[str, object]:
    file = directory / "password"
    file.write_text(f"{PASSWORD}\n")
    return {
        "tls_ca_file": own.identity.authority,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "alice",
        "sasl_password_file": file,
    }


@pytest.mark.parametrize(
    ("listener", "secured"),
    [
        pytest.param("SSL", tls, id="tls"),
        pytest.param("SSL", mutual_tls, id="mutual tls"),
        pytest.param("SASL_PLAINTEXT", login("PLAIN"), id="plain"),
        pytest.param("SASL_PLAINTEXT", login("SCRAM-SHA-256"), id="scram 256"),
        pytest.param("SASL_SSL", login_over_tls, id="scram 512 over tls"),
    ],
)
async def test_it_speaks_tls_and_logs_in(
    own: Own, listener: str, secured: Secured, tmp_path: Path
) -> None:
    async with opened(own.settings(listener, **secured(own, tmp_path))) as bus:
        offset = await bus.publish(OTLP_SPANS, b"secret", {})
        (message,) = await read_all(bus)
        assert (message.offset, message.value) == (offset, b"secret")
        assert await bus.fetch(SPANS, 0, 1, max_bytes=100) == [message]


def of_another_authority(own: Own, directory: Path) -> dict[str, object]:
    return {"tls_ca_file": self_signed(directory / "other").authority}


def nothing(own: Own, directory: Path) -> dict[str, object]:
    return {}


@pytest.mark.parametrize(
    ("listener", "secured", "advice"),
    [
        pytest.param(
            *("SASL_PLAINTEXT", login("PLAIN", "wrong"), "check kafka_sasl_username"),
            id="wrong password",
        ),
        pytest.param(
            *("SASL_PLAINTEXT", login("SCRAM-SHA-256", "wrong"), "check kafka_sasl_username"),
            id="wrong password, scram",
        ),
        pytest.param("SASL_PLAINTEXT", nothing, "kafka_sasl_mechanism", id="no login"),
        pytest.param(
            *("SSL", of_another_authority, "kafka_tls_ca_file must be of the authority"),
            id="unknown authority",
        ),
        pytest.param("SSL", nothing, "does this listener want TLS", id="no tls"),
        pytest.param("PLAINTEXT", tls, "does this listener speak", id="tls to a plain listener"),
    ],
)
async def test_a_door_that_stays_shut_says_what_to_do(
    own: Own, listener: str, secured: Secured, advice: str, tmp_path: Path
) -> None:
    bus = KafkaBus(own.settings(listener, **secured(own, tmp_path)))
    with pytest.raises(BusUnavailable, match=advice):
        await bus.start()
    with pytest.raises(BusUnavailable):
        await bus.publish(OTLP_SPANS, b"", {})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"tls_ca_file": "/nowhere.pem"}, "kafka_tls_ca_file"),
        ({"tls_certificate_file": "/nowhere.pem", "tls_key_file": "/n"}, "tls_certificate_file"),
        (
            {
                "sasl_mechanism": "PLAIN",
                "sasl_username": "a",
                "sasl_password_file": "/nowhere",
            },
            "kafka_sasl_password_file",
        ),
        ({"bootstrap_servers": ()}, "kafka"),
    ],
)
def test_files_that_cannot_be_read_are_named(given: dict[str, object], named: str) -> None:
    settings = {"bootstrap_servers": ("127.0.0.1:1",), "tls": "tls_certificate_file" in given}
    with pytest.raises(InvalidInput, match=named):
        KafkaBus(KafkaSettings.model_validate(settings | given))


def test_a_password_is_not_shown() -> None:
    settings = KafkaSettings(sasl_mechanism="PLAIN", sasl_username="a", sasl_password="hunter2")
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
