"""Settings of the buses; all sizes are bytes."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

Size = Annotated[int, Field(ge=0)]


def _server(text: str) -> str:
    if not re.fullmatch(r"[^\s,]+:[0-9]{1,5}", text):
        raise ValueError("HOST:PORT, such as kafka-1:9092; several are separated by commas")
    return text


Server = Annotated[str, AfterValidator(_server)]


class EmbeddedBusSettings(BaseModel):
    """How much the embedded bus may hold, for how long, and when it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: Annotated[int, Field(ge=64 * KIB)] = Field(
        default=4 * GIB,
        description="Bytes of messages that were not yet consumed; past it the bus refuses.",
    )
    pace_bytes: Size = Field(
        default=32 * MIB,
        description="Bytes not yet consumed past which senders are answered later, to slow them.",
    )
    pace_seconds: Annotated[float, Field(ge=0)] = Field(
        default=1.0,
        description="How much later at most; 0 answers at once, however much waits.",
    )
    max_message_bytes: Size = Field(
        default=80 * MIB, description="Largest message, headers included."
    )
    max_waiting_bytes: Size = Field(
        default=192 * MIB, description="Bytes in memory that wait to be written and synced."
    )
    max_group_bytes: Size = Field(
        default=32 * MIB, description="Bytes written and synced in one transaction, about."
    )
    retention_bytes: Size = Field(
        default=1 * GIB, description="Bytes of consumed messages kept for replay."
    )
    retention_seconds: Annotated[float, Field(ge=0)] = Field(
        default=24 * 3600.0, description="Age past which consumed messages are deleted."
    )
    retry_after_seconds: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="When a refused publisher is told to come back."
    )
    min_free_bytes: Size = Field(
        default=256 * MIB,
        description="Free space on the disk below which nothing more is taken; 0 turns this off.",
    )


class KafkaSettings(BaseModel):
    """Where Kafka is, what its topics look like, and how much may wait."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: tuple[Server, ...] = Field(
        default=(), description="HOST:PORT of brokers; empty keeps messages on this machine's disk."
    )
    group: Annotated[str, Field(min_length=1)] = Field(
        default="meshweir",
        description="Consumer group of the processes that fill the store; lag is measured of it.",
    )
    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,200}$")] = Field(
        default="", description="Put before the names of all topics."
    )
    topics: Literal["create", "accept"] = Field(
        default="create",
        description="create: make missing topics, refuse ones with other settings than these; "
        "accept: make missing topics, take existing ones as they are.",
    )
    partitions: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=4, description="Partitions of each topic; as many processes can share the work."
    )
    replication_factor: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Copies of each partition; 0: one on each broker, at most 3."
    )
    retention_seconds: Annotated[int, Field(ge=60)] = Field(
        default=3 * 24 * 3600, description="How long topics keep messages, read or not."
    )
    max_message_bytes: Annotated[int, Field(ge=64 * KIB, le=64 * MIB)] = Field(
        default=8 * MIB, description="max.message.bytes of the topics: the largest message."
    )
    compression: Literal["zstd", "lz4", "gzip", "none"] = Field(
        default="zstd", description="How messages are compressed on the wire and on brokers' disks."
    )
    max_waiting_bytes: Annotated[int, Field(ge=64 * KIB)] = Field(
        default=128 * MIB,
        description="Bytes in memory that wait for the brokers; past it senders are refused.",
    )
    publish_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="How long a message may wait for the brokers' acknowledgement."
    )
    retry_after_seconds: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="When a refused sender is told to come back."
    )
    max_lag_bytes: Annotated[int, Field(ge=64 * KIB)] = Field(
        default=4 * GIB,
        description="Bytes that the group has not read, about; past it senders are refused.",
    )
    pace_bytes: Size = Field(
        default=64 * MIB,
        description="Bytes not yet read past which senders are answered later, to slow them.",
    )
    pace_seconds: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="How much later at most; 0 answers at once, however much waits."
    )
    max_fetch_bytes: Annotated[int, Field(ge=64 * KIB)] = Field(
        default=32 * MIB, description="Compressed bytes a reader holds in memory per broker, about."
    )
    session_timeout_seconds: Annotated[float, Field(ge=1)] = Field(
        default=8.0,
        description="Silence after which a process's partitions are given to the others.",
    )
    handover_seconds: Annotated[float, Field(ge=0)] = Field(
        default=3.0,
        description="How long partitions are held, when others want them, to store what was read.",
    )
    tls: bool = Field(default=False, description="Speak TLS; also on with tls_ca_file.")
    tls_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that brokers' certificates come from.",
    )
    tls_certificate_file: Path | None = Field(
        default=None,
        description="PEM file of this client's certificate, where brokers ask for one.",
    )
    tls_key_file: Path | None = Field(
        default=None, description="PEM file of the key of that certificate."
    )
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="", description="How to log in; empty: not at all."
    )
    sasl_username: str = Field(default="", description="Name to log in with.")
    sasl_password: SecretStr | None = Field(default=None, description="Password to log in with.")
    sasl_password_file: Path | None = Field(
        default=None, description="File that holds the password, instead of the password itself."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("kafka_tls_certificate_file and kafka_tls_key_file go together")
        if self.sasl_password is not None and self.sasl_password_file is not None:
            raise ValueError("kafka_sasl_password or kafka_sasl_password_file, not both")
        known = self.sasl_password is not None or self.sasl_password_file is not None
        if self.sasl_mechanism and not (self.sasl_username and known):
            raise ValueError("kafka_sasl_mechanism needs kafka_sasl_username and a password")
        if not self.sasl_mechanism and (self.sasl_username or known):
            raise ValueError("a name or password for Kafka needs kafka_sasl_mechanism")
        return self
