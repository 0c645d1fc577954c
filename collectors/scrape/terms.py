"""On what terms a target is asked, and what it exposes is taken: what its job says of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from collectors.scrape.config import LabelLimits, Protocol, ScrapeJob
from collectors.scrape.metric_rules import MetricRules
from collectors.scrape.rewriting import Rewriter
from collectors.scrape.target import Target
from collectors.settings import ScrapeSettings
from pipeline.model.topics import OPENMETRICS_TEXT_FORMAT, PROMETHEUS_TEXT_FORMAT

_PROTOCOLS: Final[Mapping[Protocol, tuple[str, str]]] = {
    "OpenMetricsText1.0.0": ("application/openmetrics-text;version=1.0.0", OPENMETRICS_TEXT_FORMAT),
    "OpenMetricsText0.0.1": ("application/openmetrics-text;version=0.0.1", OPENMETRICS_TEXT_FORMAT),
    "PrometheusText1.0.0": ("text/plain;version=1.0.0", PROMETHEUS_TEXT_FORMAT),
    "PrometheusText0.0.4": ("text/plain;version=0.0.4", PROMETHEUS_TEXT_FORMAT),
}
"""The content type of each protocol, best first, and the format that it is; all but protobuf."""

_ESCAPING: Final = frozenset({"OpenMetricsText1.0.0", "PrometheusText1.0.0"})
"""Protocols in which a target may be asked how to spell names of any letters."""

_BEST_WEIGHT: Final = 6
"""Of ten, as Prometheus weighs the first protocol it would like."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a target is asked, and what is taken of it.

    Attributes:
        headers: of the request.
        max_samples: how many samples it may expose; a scrape with more has failed.
        sample_limit: how many there may be after the rules, likewise; 0 is no limit.
        rewriter: applies the rules; None where samples go on as they were exposed.
        with_timed: whether the end of series with times of their own is told, too.
        otherwise: the format of answers that do not say theirs; None where such are refused.
    """

    headers: Mapping[str, str]
    max_samples: int
    sample_limit: int = 0
    rewriter: Rewriter | None = None
    with_timed: bool = False
    otherwise: str | None = None


def terms_of(job: ScrapeJob, target: Target, settings: ScrapeSettings) -> Terms:
    """What a job says of one of its targets, within the limits of the settings."""
    fallback = _PROTOCOLS.get(job.fallback_scrape_protocol or "PrometheusProto")
    return Terms(
        {
            "accept": accept_of(job),
            "accept-encoding": "gzip" if job.enable_compression else "identity",
            "user-agent": "Meshweir",
            "x-prometheus-scrape-timeout-seconds": f"{target.timeout:g}",
        },
        max_samples=settings.max_samples,
        sample_limit=job.sample_limit,
        rewriter=_rewriter(job, target, settings),
        with_timed=job.track_timestamps_staleness,
        otherwise=fallback[1] if fallback else None,
    )


def accept_of(job: ScrapeJob) -> str:
    """What a target is asked for, best first, as Prometheus asks; in the end for anything.

    Many servers know their own format only. Protobuf is not asked for, whatever the job says: where
    it names nothing else, all is asked for that is understood.
    """
    named = [one for one in job.scrape_protocols if one in _PROTOCOLS] or list(_PROTOCOLS)
    weights = range(_BEST_WEIGHT, 0, -1)
    offers = [*(_offer(one, job) for one in named), "*/*"]
    return ",".join(f"{offer};q=0.{weight}" for offer, weight in zip(offers, weights, strict=False))


def _offer(protocol: Protocol, job: ScrapeJob) -> str:
    legacy = job.metric_name_validation_scheme == "legacy"
    escaping = job.metric_name_escaping_scheme or ("underscores" if legacy else "allow-utf-8")
    return _PROTOCOLS[protocol][0] + (f";escaping={escaping}" if protocol in _ESCAPING else "")


def _rewriter(job: ScrapeJob, target: Target, settings: ScrapeSettings) -> Rewriter | None:
    limited = any(getattr(job, name) for name in LabelLimits.model_fields)
    if not job.metric_relabel_configs and not limited and job.honor_timestamps:
        return None
    rules = MetricRules(
        job.metric_relabel_configs, job, dict(target.labels), honor_labels=job.honor_labels
    )
    return Rewriter(rules, honor_timestamps=job.honor_timestamps, max_bytes=settings.max_body_bytes)
