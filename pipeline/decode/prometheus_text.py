"""The Prometheus text format 0.0.4: what ``/metrics`` of most proxies and gateways answers."""

from collections.abc import Sequence

from pipeline.decode.prometheus.exposition import PROMETHEUS, decode_exposition
from pipeline.model.decoded import Decoded


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode scraped texts; timestamps of samples are milliseconds."""
    return decode_exposition(messages, PROMETHEUS)
