"""What a scraper knows beside the body it was given, in front of that body on the bus.

A scraped exposition does not say who was scraped, nor when. Both go before it in one comment line,
which every parser of the Prometheus text format and of OpenMetrics passes over, so a message stands
for itself and is still the exposition as received, or what ``metric_relabel_configs`` made of it.
Series that were in the scrape before and are in this one no more follow as comment lines, too:
Prometheus calls them stale.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import orjson

SCRAPE_PREFIX: Final = b"# meshweir scrape "
"""What the first line of a scraped message begins with; a JSON object follows."""

STALE_PREFIX: Final = b"# meshweir stale "
"""What the line of a stale series begins with; the series follows as it was exposed, no value."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape of one target.

    Attributes:
        at_ms: when it was begun, Unix milliseconds; the time of samples that carry none.
        duration_seconds: how long it took; None where nobody scraped, as of a file: then there
            are no series ``up``, ``scrape_duration_seconds`` and ``scrape_samples_scraped``.
        up: whether the target answered with an exposition; the body is empty when it did not.
        resource: resource attributes of the target by OpenTelemetry's names: ``service.name`` is
            the job, ``service.instance.id`` the instance, others as discovery knows them.
        exposed: how many samples the target exposed, where rules have changed the body since; None
            where it is as it was exposed.
    """

    at_ms: int
    duration_seconds: float | None
    up: bool
    resource: Mapping[str, str] = field(default_factory=dict)
    exposed: int | None = None

    def report(self, samples: int) -> dict[str, float]:
        """The series by which Prometheus tells of a scrape, by name; none where nobody scraped.

        Args:
            samples: how many the body has.
        """
        if self.duration_seconds is None:
            return {}
        told = {"up": int(self.up), "scrape_duration_seconds": self.duration_seconds}
        if self.exposed is None:
            return told | {"scrape_samples_scraped": samples}
        return told | {
            "scrape_samples_scraped": self.exposed,
            "scrape_samples_post_metric_relabeling": samples,
        }

    def line(self) -> bytes:
        """The comment line, with its line feed."""
        told: dict[str, object] = {
            "at_ms": self.at_ms,
            "duration_seconds": self.duration_seconds,
            "up": self.up,
            "resource": dict(self.resource),
        }
        if self.exposed is not None:
            told["exposed"] = self.exposed
        return SCRAPE_PREFIX + orjson.dumps(told) + b"\n"

    @classmethod
    def of(cls, line: bytes) -> Self:
        """What a comment line tells.

        Raises:
            ValueError: it is not such a line.
        """
        try:
            told = orjson.loads(line.removeprefix(SCRAPE_PREFIX))
            resource = {str(name): str(value) for name, value in told["resource"].items()}
            duration = told["duration_seconds"]
            seconds = None if duration is None else float(duration)
            exposed = int(told["exposed"]) if "exposed" in told else None
            return cls(int(told["at_ms"]), seconds, bool(told["up"]), resource, exposed)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise ValueError("the line about the scrape is malformed") from problem
