"""What a target answered, as its terms allow."""

from dataclasses import dataclass
from typing import Final

from collectors.scrape.fetch import Fetched, FetchFailed
from collectors.scrape.series import Series, samples_of, series_of
from collectors.scrape.terms import Terms
from pipeline.model.topics import OPENMETRICS_TEXT_FORMAT, PROMETHEUS_TEXT_FORMAT

_FORMATS: Final = {
    "application/openmetrics-text": OPENMETRICS_TEXT_FORMAT,
    "text/plain": PROMETHEUS_TEXT_FORMAT,
}
"""What content types mean."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """What a target answered.

    Attributes:
        body: the bytes as received, but with a line feed at the end; or what rules made of them.
        format: the format they are in.
        series: what is in them.
        before: how many samples there were before the rules; None where there are no rules.
        twice: how many of these were left out since rules made them equal to others.
    """

    body: bytes
    format: str
    series: Series
    before: int | None = None
    twice: int = 0


def exposed_in(answer: Fetched, terms: Terms) -> Exposed:
    """The exposition that a target answered, after the rules of its job.

    Raises:
        FetchFailed: the answer is none, has more samples than are allowed, or rules refuse it.
    """
    format_name = _format(answer.content_type, terms)
    body = answer.body if not answer.body or answer.body.endswith(b"\n") else answer.body + b"\n"
    lines = samples_of(body)
    _limit(len(lines.starts), terms.max_samples)
    if terms.rewriter is None:
        _limit(len(lines.starts), terms.sample_limit)
        return Exposed(body, format_name, lines.series(with_timed=terms.with_timed))
    told = terms.rewriter.rewritten(body, lines)
    series = series_of(told.body, with_timed=terms.with_timed)
    _limit(series.samples + told.twice, terms.sample_limit)
    return Exposed(told.body, format_name, series, len(lines.starts), told.twice)


def _format(content_type: str, terms: Terms) -> str:
    """The format of a content type; servers of old give none."""
    kind = content_type.partition(";")[0].strip()
    known = _FORMATS.get(kind) or terms.otherwise or (None if kind else PROMETHEUS_TEXT_FORMAT)
    if known is None:
        raise FetchFailed(
            f"content type {kind}, which is neither {' nor '.join(_FORMATS)}",
            reason="content type",
            answered=True,
        )
    return known


def _limit(samples: int, limit: int) -> None:
    if 0 < limit < samples:
        raise FetchFailed(
            f"{samples} samples, where {limit} are allowed",
            reason="too many samples",
            answered=True,
        )
