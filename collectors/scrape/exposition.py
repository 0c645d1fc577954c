"""What a target is asked for, and what it answered."""

from dataclasses import dataclass
from typing import Final

from collectors.scrape.fetch import Fetched, FetchFailed
from collectors.scrape.series import Series, series_of
from pipeline.model.topics import OPENMETRICS_TEXT_FORMAT, PROMETHEUS_TEXT_FORMAT

ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""What is asked for, best first; the last since many servers know their own format only."""

_FORMATS: Final = {
    "application/openmetrics-text": OPENMETRICS_TEXT_FORMAT,
    "text/plain": PROMETHEUS_TEXT_FORMAT,
    "": PROMETHEUS_TEXT_FORMAT,
}
"""What content types mean; servers of old give none."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """What a target answered.

    Attributes:
        body: the bytes as received, but with a line feed at the end.
        format: the format they are in.
        series: what is in them.
    """

    body: bytes
    format: str
    series: Series


def exposed_in(answer: Fetched, max_samples: int) -> Exposed:
    """The exposition that a target answered.

    Raises:
        FetchFailed: the answer is none, or has more than ``max_samples`` samples.
    """
    kind = answer.content_type.partition(";")[0].strip()
    if kind not in _FORMATS:
        raise FetchFailed(
            f"content type {kind}, which is neither {' nor '.join(filter(None, _FORMATS))}",
            reason="content type",
            answered=True,
        )
    body = answer.body if not answer.body or answer.body.endswith(b"\n") else answer.body + b"\n"
    series = series_of(body)
    if series.samples > max_samples:
        raise FetchFailed(
            f"{series.samples} samples, where {max_samples} are allowed",
            reason="too many samples",
            answered=True,
        )
    return Exposed(body, _FORMATS[kind], series)
