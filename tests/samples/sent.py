"""Samples that were written down in another form than they are sent in, as they are sent."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf import json_format


def envoy_als(path: Path) -> bytes:
    """An access log message of Envoy out of protobuf's JSON."""
    message = StreamAccessLogsMessage()
    json_format.Parse(path.read_text(encoding="utf-8"), message, ignore_unknown_fields=True)
    return message.SerializeToString()


SENT: Final[Mapping[str, Callable[[Path], bytes]]] = {"envoy_als": envoy_als}
"""How a file becomes the message that a receiver takes, for formats that no file is imported in."""
