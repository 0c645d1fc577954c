"""Metrics of traffic: which of whose counters tell of which calls; one module per system."""

from typing import Final

from pipeline.analyze.counters import UP
from pipeline.analyze.traffic import aws, envoy, istio, kong, linkerd
from pipeline.analyze.traffic.metric import CALL, Metric, System, label

SYSTEMS: Final = (istio.SYSTEM, linkerd.SYSTEM, envoy.SYSTEM, kong.SYSTEM, aws.SYSTEM)
"""Every system whose metrics tell of calls."""

NAMES: Final = sorted({metric.name for system in SYSTEMS for metric in system.metrics} | {UP})
"""Metrics that are read: those of traffic, and what tells that a target was reached."""

SCRAPERS: Final = tuple(
    label(name) for name in ("prometheus", "prometheus_replica", "receive_replica", "replica")
)
"""Labels by which those who pass metrics on are told apart, as JSON paths."""

PATHS: Final = sorted(
    {
        *(path for system in SYSTEMS for path in system.labels.values()),
        *SCRAPERS,
        label("namespace"),
        label("pod"),
    }
)
"""Labels that are read, as JSON paths."""

__all__ = ["CALL", "NAMES", "PATHS", "SCRAPERS", "SYSTEMS", "Metric", "System"]
