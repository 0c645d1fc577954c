"""Settings of the collectors: where they listen, and how much they take at once."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

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


class HttpSettings(BaseModel):
    """What every listener over HTTP has: an address, and limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        default=None, description="HOST:PORT; port 0 picks one; empty turns it off."
    )
    max_body_bytes: Size = Field(default=16 * MIB, description="Largest body on the wire.")
    max_decompressed_bytes: Size = Field(
        default=64 * MIB, description="Largest body after decompression."
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


class OtlpHttpSettings(HttpSettings):
    """OTLP over HTTP."""

    address: str | None = Field(
        default="127.0.0.1:4318", description="HOST:PORT; port 0 picks one; empty turns it off."
    )
    max_json_bytes: Size = Field(
        default=16 * MIB,
        description="Largest JSON body after decompression; reading it takes many times its size.",
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


class FirehoseSettings(HttpSettings):
    """The HTTP endpoint of Amazon Data Firehose."""

    access_key: SecretStr | None = Field(
        default=None,
        description="Access key that Firehose must carry; needed to listen beyond loopback. "
        "Without one the intake's token is expected, where that is set.",
    )
    max_body_bytes: Size = Field(default=64 * MIB, description="Largest body on the wire.")
    max_head_bytes: Size = Field(
        default=128 * 1024,
        description="Largest request line and headers; common attributes alone may be 64 KiB.",
    )
    max_records_bytes: Size = Field(
        default=64 * MIB, description="Largest records of a request, all together and inflated."
    )


class KongHttpLogSettings(HttpSettings):
    """Kong's plugin http-log."""


class ApigeeHttpSettings(HttpSettings):
    """Access records that Apigee's proxies post."""


class ZipkinSettings(HttpSettings):
    """Zipkin's API for spans, over HTTP."""

    max_json_bytes: Size = Field(
        default=16 * MIB,
        description="Largest JSON body after decompression; reading it takes many times its size.",
    )


class CollectorSettings(BaseModel):
    """All collectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intake: IntakeSettings = IntakeSettings()
    otlp_http: OtlpHttpSettings = OtlpHttpSettings()
    otlp_grpc: OtlpGrpcSettings = OtlpGrpcSettings()
    envoy_als: EnvoyAlsSettings = EnvoyAlsSettings()
    firehose: FirehoseSettings = FirehoseSettings()
    kong_http_log: KongHttpLogSettings = KongHttpLogSettings()
    apigee_http: ApigeeHttpSettings = ApigeeHttpSettings()
    zipkin: ZipkinSettings = ZipkinSettings()
