"""The Envoy access log service: streams of access-log entries."""

from typing import Final

from collectors.envoy_stream import EnvoyStream
from collectors.settings import EnvoyAlsSettings
from pipeline.model.topics import ENVOY_ALS_FORMAT

SOURCE: Final = "envoy_als"
METHOD: Final = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"


def access_logs(settings: EnvoyAlsSettings) -> EnvoyStream:
    """The streams of the access log service."""
    return EnvoyStream(METHOD, SOURCE, ENVOY_ALS_FORMAT, settings.patience_seconds)
