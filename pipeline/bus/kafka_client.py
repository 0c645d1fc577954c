"""Connections to Kafka: how every client of ours is made, and why one cannot be had."""

import asyncio
import logging
import ssl
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.bus.settings import KafkaSettings
from pipeline.errors import BusUnavailable, InvalidInput

CLIENT_ID: Final = "meshweir"

REQUEST_SECONDS: Final = 10.0
"""How long one request to a broker may take before its connection is given up."""

METADATA_SECONDS: Final = 30.0
"""How soon partitions that were added to a topic are noticed."""

PROBE_SECONDS: Final = 5.0

_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (SaslAuthenticationFailed, "check kafka_sasl_username and the password"),
    (UnsupportedSaslMechanismError, "set kafka_sasl_mechanism to one that it has"),
    (
        ssl.SSLCertVerificationError,
        "kafka_tls_ca_file must be of the authority that signed the broker's certificate",
    ),
    (ssl.SSLError, "does this listener speak TLS? If not, turn kafka_tls off"),
    (ConnectionRefusedError, "is a broker running there (--kafka)?"),
    (ConnectionResetError, "does this listener speak another protocol? See kafka_tls"),
    (OSError, "check the address (--kafka) and the network"),  # timeouts too
)
"""What to do about the kinds of errors, the particular ones first."""


class Connection:
    """Makes clients of one cluster, all with the same security.

    Args:
        settings: where the cluster is and how to log in.

    Raises:
        InvalidInput: no servers, or a file of a certificate or password cannot be read.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        if not settings.bootstrap_servers:
            raise InvalidInput("kafka", found="", allowed="HOST:PORT of a broker")
        self._servers = list(settings.bootstrap_servers)
        tls = settings.tls or settings.tls_ca_file is not None
        self._security: dict[str, Any] = {
            "security_protocol": ("SASL_" if settings.sasl_mechanism else "")
            + ("SSL" if tls else "PLAINTEXT"),
            "ssl_context": _ssl_context(settings) if tls else None,
        }
        if settings.sasl_mechanism:
            self._security |= {
                "sasl_mechanism": settings.sasl_mechanism,
                "sasl_plain_username": settings.sasl_username,
                "sasl_plain_password": _password(settings),
            }
        # every attempt to connect would be a line of the library's; what matters is logged by us
        library = logging.getLogger("aiokafka")
        if library.level == logging.NOTSET:
            library.setLevel(logging.CRITICAL)

    def __str__(self) -> str:
        """The servers, as they were given."""
        return ",".join(self._servers)

    def producer(self, **arguments: object) -> AIOKafkaProducer:
        """A producer that is not started."""
        return AIOKafkaProducer(**self._common(), **arguments)

    def consumer(self, **arguments: object) -> AIOKafkaConsumer:
        """A consumer that is not started, has no topics, and commits nothing by itself."""
        return AIOKafkaConsumer(**self._common(), enable_auto_commit=False, **arguments)

    def admin(self) -> AIOKafkaAdminClient:
        """An admin client that is not started."""
        return AIOKafkaAdminClient(**self._common())

    def _common(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self._servers,
            "client_id": CLIENT_ID,
            "request_timeout_ms": int(REQUEST_SECONDS * 1000),
            "metadata_max_age_ms": int(METADATA_SECONDS * 1000),
            **self._security,
        }

    async def unavailable(self, error: Exception) -> BusUnavailable:
        """The error for a cluster that cannot be used, with its cause and what to do.

        Clients tell only that no server could be reached; the cause is found by trying each.
        """
        if not isinstance(error, (KafkaConnectionError, TimeoutError)):
            return BusUnavailable(f"Kafka at {self}: {describe(error)}")
        causes = [await self._cause(host, port) for host, port, _ in collect_hosts(self._servers)]
        return BusUnavailable(
            "; ".join(filter(None, causes)) or f"Kafka at {self}: {describe(error)}"
        )

    async def _cause(self, host: str, port: int) -> str:
        """Why a server cannot be used; empty when it can."""
        timeout_ms = int(PROBE_SECONDS * 1000)
        try:
            connection = await create_conn(
                host, port, client_id=CLIENT_ID, request_timeout_ms=timeout_ms, **self._security
            )
            try:
                # a listener that wants a login tells its versions to anybody, and then hangs up
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
        except (OSError, TimeoutError, KafkaError) as error:
            advice = _advice(error, tls=self._security["ssl_context"] is not None)
            return f"Kafka at {host}:{port}: {describe(error)}; {advice}"
        else:
            return ""


def describe(error: BaseException) -> str:
    """An error of the library in words; its own text may be empty."""
    told = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return str(error) or told


def _advice(error: Exception, *, tls: bool) -> str:
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    if tls:
        return "does the broker ask for a client certificate (kafka_tls_certificate_file)?"
    return "does this listener want TLS (kafka_tls) or a login (kafka_sasl_mechanism)?"


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=None if settings.tls_ca_file is None else str(settings.tls_ca_file)
        )
    except OSError as error:  # ssl.SSLError is one
        raise InvalidInput(
            "kafka_tls_ca_file", found=str(settings.tls_ca_file), allowed=f"a PEM file: {error}"
        ) from error
    if settings.tls_certificate_file is not None:
        try:
            context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file)
        except OSError as error:
            raise InvalidInput(
                "kafka_tls_certificate_file",
                found=str(settings.tls_certificate_file),
                allowed=f"a PEM file whose key is in kafka_tls_key_file: {error}",
            ) from error
    return context


def _password(settings: KafkaSettings) -> str:
    if settings.sasl_password is not None:
        return settings.sasl_password.get_secret_value()
    path = settings.sasl_password_file
    assert path is not None  # noqa: S101 - the settings were checked
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "kafka_sasl_password_file", found=str(path), allowed=f"a text file: {error}"
        ) from error


async def close_quietly(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient) -> None:
    """Let a client go whose connections may be broken; takes no longer than a request."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            match client:
                case AIOKafkaAdminClient():
                    await client.close()
                case AIOKafkaConsumer():
                    await client.stop()
                case AIOKafkaProducer():
                    await client.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        logging.getLogger(__name__).debug("closing a client of Kafka: %r", error)
