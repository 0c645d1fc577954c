"""Settings of the collectors: where they listen, and how much they take at once."""

from pathlib import Path
from typing import Annotated, Literal, Self

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
    """OTLP over gRPC, and the services of Envoy on the same port."""

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


class ZipkinSettings(HttpSettings):
    """Zipkin's API for spans, over HTTP."""

    max_json_bytes: Size = Field(
        default=16 * MIB,
        description="Largest JSON body after decompression; reading it takes many times its size.",
    )


class ApigeeSyslogSettings(BaseModel):
    """Syslog over TCP, for MessageLogging of Apigee."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(
        default=None, description="HOST:PORT; port 0 picks one; empty turns it off."
    )
    certificate_file: Path | None = Field(
        default=None, description="PEM file of the server's certificate chain; turns TLS on."
    )
    key_file: Path | None = Field(
        default=None, description="PEM file of the certificate's private key."
    )
    client_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that senders' certificates must be signed by.",
    )
    any_sender: bool = Field(
        default=False,
        description="Listen beyond loopback for whoever reaches the address, without a client CA.",
    )
    max_frame_bytes: Size = Field(default=256 * 1024, description="Longest message.")
    max_connections: Annotated[int, Field(ge=1)] = Field(
        default=256, description="Connections open at once; more are closed at once."
    )
    idle_seconds: Seconds = Field(
        default=900.0, description="How long a connection may say nothing."
    )
    batch_seconds: Seconds = Field(
        default=0.2, description="How long a message waits for others to go on the bus with."
    )
    batch_bytes: Size = Field(
        default=512 * 1024, description="Bytes at which messages wait for no others."
    )
    drain_seconds: Seconds = Field(
        default=10.0, description="How long the bus is waited for when it stops."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("a certificate and its key, both or neither")
        if self.client_ca_file is not None and self.certificate_file is None:
            raise ValueError("a client CA only with a certificate and its key: TLS needs them")
        return self


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


class ScrapeSettings(BaseModel):
    """Expositions of Prometheus that are asked for; off while nothing is named to ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    targets: tuple[str, ...] = Field(
        default=(), description="HOST:PORT or URLs that expose metrics, to be scraped."
    )
    files: tuple[str, ...] = Field(
        default=(),
        description="Files of targets in Prometheus' file_sd format, JSON or YAML; * is allowed.",
    )
    http_sd: tuple[str, ...] = Field(
        default=(), description="URLs that answer with targets: Prometheus' HTTP service discovery."
    )
    kubernetes: str | None = Field(
        default=None,
        description="in-cluster, or the URL of an API server: scrape annotated and meshed pods.",
    )
    kubernetes_namespaces: tuple[str, ...] = Field(
        default=(), description="Namespaces whose pods are scraped; empty is all."
    )
    kubernetes_token_file: Path | None = Field(
        default=None, description="File with the token for the API server, when it is named."
    )
    kubernetes_ca_file: Path | None = Field(
        default=None, description="PEM file of the authority of the API server, when it is named."
    )
    config_file: Path | None = Field(
        default=None, description="A prometheus.yml whose scrape_configs say what to scrape."
    )
    interval_seconds: Seconds = Field(
        default=15.0, description="From one scrape of a target to the next, unless its job says."
    )
    timeout_seconds: Seconds = Field(
        default=10.0, description="How long a scrape may take, unless its job says."
    )
    max_body_bytes: Size = Field(
        default=16 * MIB, description="Largest exposition, on the wire and unpacked."
    )
    max_samples: Annotated[int, Field(ge=1)] = Field(
        default=200_000, description="Samples of one scrape; one with more fails."
    )
    max_targets: Annotated[int, Field(ge=1)] = Field(
        default=2000, description="Targets in all; more are left alone, counted and logged."
    )
    max_labels: Annotated[int, Field(ge=8)] = Field(
        default=200, description="Resource attributes of one target; one with more is left alone."
    )
    max_in_flight: Annotated[int, Field(ge=1)] = Field(
        default=32, description="Scrapes under way at once; others wait for their turn."
    )
    drain_seconds: Seconds = Field(
        default=10.0, description="How long scrapes under way may take when it stops."
    )

    @property
    def asked_for(self) -> bool:
        """Whether anything is named to scrape."""
        named = (self.targets, self.files, self.http_sd, self.kubernetes, self.config_file)
        return any(named)


class RemoteWriteSettings(HttpSettings):
    """Prometheus' remote write."""


class EnvoyMetricsSettings(BaseModel):
    """The Envoy metrics service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=False, description="Take Envoy's metrics on the port of OTLP/gRPC, too."
    )
    patience_seconds: Seconds = Field(
        default=30.0,
        description="How long a stream is not read while the bus is full, before it is ended.",
    )


class TailSettings(BaseModel):
    """Files that are followed as they grow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: tuple[str, ...] = Field(
        default=(),
        description="Files to follow, each a path or a glob, with FORMAT: in front or without.",
    )
    directory: Path | None = Field(
        default=None,
        description="Where it is kept how far files were read; `tail` in the data directory.",
    )
    start: Literal["beginning", "end"] = Field(
        default="beginning",
        description="Where files are begun that are there when it runs for the first time.",
    )
    poll_seconds: Seconds = Field(default=1.0, description="How often files are looked at.")
    rotated_seconds: Seconds = Field(
        default=10.0, description="How long a file that was renamed must be quiet to be at its end."
    )
    max_files: Annotated[int, Field(ge=1)] = Field(
        default=1000, description="Files open at once; more are waited with."
    )


class CollectorSettings(BaseModel):
    """All collectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intake: IntakeSettings = IntakeSettings()
    otlp_http: OtlpHttpSettings = OtlpHttpSettings()
    otlp_grpc: OtlpGrpcSettings = OtlpGrpcSettings()
    envoy_als: EnvoyAlsSettings = EnvoyAlsSettings()
    zipkin: ZipkinSettings = ZipkinSettings()
    apigee_syslog: ApigeeSyslogSettings = ApigeeSyslogSettings()
    firehose: FirehoseSettings = FirehoseSettings()
    kong_http_log: KongHttpLogSettings = KongHttpLogSettings()
    apigee_http: ApigeeHttpSettings = ApigeeHttpSettings()
    scrape: ScrapeSettings = ScrapeSettings()
    remote_write: RemoteWriteSettings = RemoteWriteSettings()
    envoy_metrics: EnvoyMetricsSettings = EnvoyMetricsSettings()
    tail: TailSettings = TailSettings()
