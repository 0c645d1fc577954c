"""Samples that were written down in another form than they are sent in, as they are sent."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf import json_format, text_format

from tests.pipeline.decode.envoy_stats import StreamMetricsMessage


def envoy_als(path: Path) -> bytes:
    """An access log message of Envoy out of protobuf's JSON."""
    message = StreamAccessLogsMessage()
    json_format.Parse(path.read_text(encoding="utf-8"), message, ignore_unknown_fields=True)
    return message.SerializeToString()


def envoy_metrics(path: Path) -> bytes:
    """A message of Envoy's metrics service out of protobuf's text, as it was written years ago."""
    text = path.read_text(encoding="utf-8")
    families = re.sub(r"\bmetrics \[", "metric [", text[text.index("envoy_metrics [") :])
    families = re.sub(r"(?<=type: )\w+", lambda told: str(_KINDS.index(told[0])), families)
    message = text_format.Parse(families, StreamMetricsMessage())
    return bytes(message.SerializeToString())


_KINDS: Final = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM")

SENT: Final[Mapping[str, Callable[[Path], bytes]]] = {
    "envoy_als": envoy_als,
    "envoy_metrics": envoy_metrics,
}
"""How a file becomes the message that a receiver takes, for formats that no file is imported in."""
