"""OpenMetrics 1.0 text: timestamps in seconds, and an end that must be there."""

from collections.abc import Sequence

from pipeline.decode.prometheus.exposition import OPENMETRICS, decode_exposition
from pipeline.model.decoded import Decoded


def decode(messages: Sequence[bytes]) -> Decoded:
    """Decode scraped texts; one without its ``# EOF`` was cut off and is refused whole."""
    return decode_exposition(messages, OPENMETRICS)
