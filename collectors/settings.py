"""Settings of the collectors: where they listen, and how much they take at once."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from pipeline.model.personal_fields import PersonalData
from pipeline.model.secret_keys import SECRET_KEYS

MIB = 1024 * 1024

Size = Annotated[int, Field(ge=1024)]
Seconds = Annotated[float, Field(gt=0)]


class IntakeSettings(BaseModel):
    """What all receivers share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretStr | None = Field(
        default=None,
        description="Bearer token that senders must carry; needed to listen beyond loopback.",
    )
    max_in_flight_bytes: Size = Field(
        default=256 * MIB,
        description="Bytes of requests under way in all receivers; past it senders must wait.",
    )
    retry_after_seconds: Seconds = Field(
        default=1.0, description="When a sender that met no room is told to come back."
    )
    masked_keys: tuple[str, ...] = Field(
        default=SECRET_KEYS,
        description="Attribute keys whose values are masked before anything is stored.",
    )
    personal_data: PersonalData = Field(
        default=PersonalData.HASH,
        description="What becomes of personal data before anything is stored: hash (a keyed "
        "pseudonym), drop (stars) or keep.",
    )
    personal_fields: tuple[str, ...] = Field(
        default=(),
        description="Names of further fields of JSON records, and attributes, that are personal.",
    )
    pseudonym_key: SecretStr | None = Field(
        default=None,
        description="Key of the pseudonyms, of 16 characters or more: the same for all collectors "
        "and workers. Without it one is made in the data directory.",
    )
    pseudonym_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of the key itself."
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.pseudonym_key is not None and self.pseudonym_key_file is not None:
            raise ValueError("intake_pseudonym_key or intake_pseudonym_key_file, not both")
        return self


class OtlpHttpSettings(BaseModel):
    """OTLP over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        default="127.0.0.1:4318", description="HOST:PORT; port 0 picks one; empty turns it off."
    )
    max_body_bytes: Size = Field(default=16 * MIB, description="Largest body on the wire.")
    max_decompressed_bytes: Size = Field(
        default=64 * MIB, description="Largest body after decompression."
    )
    max_json_bytes: Size = Field(
        default=16 * MIB,
        description="Largest JSON body after decompression; reading it takes many times its size.",
    )
    max_head_bytes: Size = Field(default=64 * 1024, description="Largest request line and headers.")
    max_connections: Annotated[int, Field(ge=1)] = Field(
        default=2000, description="Connections open at once; more are told to come back."
    )
    read_timeout_seconds: Seconds = Field(
        default=30.0, description="How long a sender may take over its headers, and its body."
    )
    drain_seconds: Seconds = Field(
        default=10.0, description="How long requests under way may take when it stops."
    )


class OtlpGrpcSettings(BaseModel):
    """OTLP over gRPC, and the Envoy access log service on the same port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        default="127.0.0.1:4317", description="HOST:PORT; port 0 picks one; empty turns it off."
    )
    max_message_bytes: Size = Field(
        default=16 * MIB, description="Largest message after decompression."
    )
    max_concurrent_streams: Annotated[int, Field(ge=1)] = Field(
        default=1024, description="Calls under way at once on one connection."
    )
    drain_seconds: Seconds = Field(
        default=10.0, description="How long calls under way may take when it stops."
    )


class EnvoyAlsSettings(BaseModel):
    """The Envoy access log service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience_seconds: Seconds = Field(
        default=30.0,
        description="How long a stream is not read while the bus is full, before it is ended.",
    )


class CollectorSettings(BaseModel):
    """All collectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intake: IntakeSettings = IntakeSettings()
    otlp_http: OtlpHttpSettings = OtlpHttpSettings()
    otlp_grpc: OtlpGrpcSettings = OtlpGrpcSettings()
    envoy_als: EnvoyAlsSettings = EnvoyAlsSettings()
