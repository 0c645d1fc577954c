"""The Envoy metrics service: streams of what an Envoy counts, at every flush of its statistics."""

from typing import Final

from collectors.envoy_stream import EnvoyStream
from collectors.settings import EnvoyMetricsSettings
from pipeline.model.topics import ENVOY_METRICS_FORMAT

SOURCE: Final = "envoy_metrics"
METHOD: Final = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"


def metrics(settings: EnvoyMetricsSettings) -> EnvoyStream:
    """The streams of the metrics service."""
    return EnvoyStream(METHOD, SOURCE, ENVOY_METRICS_FORMAT, settings.patience_seconds)
