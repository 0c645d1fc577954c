"""Whom this process asks for telemetry, and how each stands."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl

from collectors.scrape.standing import TargetReport

TARGETS: Final = pl.Schema(
    {
        "job": pl.String(),
        "instance": pl.String(),
        "url": pl.String(),
        "up": pl.Boolean(),
        "error": pl.String(),
        "last_scrape": pl.Datetime("us"),
        "last_scrape_duration_seconds": pl.Float64(),
        "samples": pl.Int64(),
        "interval_seconds": pl.Float64(),
    }
)
"""Columns of the list of targets."""


class Targets:
    """The targets of the receivers of this process; none before there are receivers."""

    def __init__(self) -> None:
        self._report: Callable[[], Sequence[TargetReport]] = tuple

    def follow(self, report: Callable[[], Sequence[TargetReport]]) -> None:
        """Tell what this tells, from now on."""
        self._report = report

    def __call__(self) -> Sequence[TargetReport]:
        """How every target stands just now."""
        return self._report()


def targets_as_answered(reports: Iterable[TargetReport]) -> pl.DataFrame:
    """One row per target, by job and URL, in the shape of its JSON."""
    rows = [_row(report) for report in reports]
    return pl.DataFrame(rows, schema=TARGETS, orient="row").sort("job", "url", "instance")


def _row(report: TargetReport) -> dict[str, object]:
    standing = report.standing
    at = standing.scraped_at
    return {
        "job": report.job,
        "instance": report.instance,
        "url": report.url,
        "up": standing.up,
        "error": standing.error or None,
        "last_scrape": None if at is None else datetime.fromtimestamp(at, UTC).replace(tzinfo=None),
        "last_scrape_duration_seconds": None if at is None else standing.duration_seconds,
        "samples": None if at is None else standing.samples,
        "interval_seconds": report.interval_seconds,
    }
