"""The payloads, and the messages that are made of them."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf import json_format

from pipeline.decode.door import MaskedKeys, admit_foreign
from pipeline.model.topics import RAW_TELEMETRY, TOPIC_FORMAT

PAYLOADS: Final = Path(__file__).parent / "payloads"

SYSTEMS: Final = {
    "istio-sidecar": "Istio, sidecars",
    "istio-ambient": "Istio, ambient",
    "linkerd": "Linkerd",
    "consul": "Consul",
    "envoy": "Envoy",
    "envoy-gateway": "Envoy Gateway",
    "kong": "Kong",
    "aws-api-gateway": "AWS API Gateway",
    "apigee": "Apigee",
    "opentelemetry": "OpenTelemetry",
}
"""The systems, by the first word of their payloads, and as the page calls them."""

SIGNALS: Final = {"spans": "spans", "access-logs": "access logs", "metrics": "metrics"}
"""The signals, by the second word of payloads."""

ABSENT: Final = {
    ("aws-api-gateway", "spans"): "X-Ray keeps them; its trace id is joined from access logs",
    ("apigee", "spans"): "as OpenTelemetry's, where Apigee exports them so",
    ("apigee", "metrics"): "Cloud Monitoring keeps them",
    ("opentelemetry", "access-logs"): "OpenTelemetry has none; proxies' are theirs",
}
"""Why there is no payload of a signal of a system."""

_TOPICS: Final = {name: topic for topic, name in TOPIC_FORMAT.items()}


@dataclass(frozen=True, slots=True)
class Case:
    """One format in which a system tells one signal.

    Attributes:
        system: out of ``SYSTEMS``.
        signal: out of ``SIGNALS``.
        format: name of the format.
        files: the payloads, one message each.
    """

    system: str
    signal: str
    format: str
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What the files have in common."""
        return f"{self.system}.{self.signal}.{self.format}"

    def messages(self) -> list[tuple[str, bytes, dict[str, str]]]:
        """Topic, bytes and headers of each message, as a collector would put it on the bus."""
        headers = {"format": self.format, "source": "payload", "received_at": "1764172900000000000"}
        topic = _TOPICS.get(self.format, RAW_TELEMETRY)
        return [(topic, _sent(self.format, path), headers) for path in self.files]


def cases() -> list[Case]:
    """All cases, in the order of the page."""
    files = sorted(PAYLOADS.iterdir())
    found = [
        Case(*name.split("."), files=tuple(paths))
        for name, paths in groupby(files, lambda path: ".".join(path.name.split(".")[:3]))
    ]
    systems, signals = list(SYSTEMS), list(SIGNALS)
    return sorted(found, key=lambda one: (systems.index(one.system), signals.index(one.signal)))


def _sent(format_name: str, path: Path) -> bytes:
    """The bytes of a payload; protobuf is written down as JSON."""
    body = path.read_bytes()
    if format_name == "envoy_als":
        message = StreamAccessLogsMessage()
        body = json_format.Parse(body, message).SerializeToString()
    passed = admit_foreign(format_name, body, MaskedKeys())
    assert passed
    return passed
