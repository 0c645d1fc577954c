"""How targets stand, for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target stands.

    Attributes:
        error: why its last scrape failed; empty when it did not.
        scraped_at: when that was begun, Unix seconds; None before the first.
        duration_seconds: how long it took.
        samples: how many samples it brought.
    """

    error: str = ""
    scraped_at: float | None = None
    duration_seconds: float = 0.0
    samples: int = 0

    @property
    def up(self) -> bool | None:
        """Whether the last scrape succeeded; None before the first."""
        return None if self.scraped_at is None else not self.error


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A target as people see it: what Prometheus shows on its page of targets.

    Attributes:
        job: name of its job.
        instance: what it is called; None of a target that is left alone.
        url: where it is asked, without the query.
        standing: how it stands; of one that is left alone its error says why.
        interval_seconds: from one scrape to the next; None of one that is left alone.
    """

    job: str
    instance: str | None
    url: str
    standing: Standing
    interval_seconds: float | None
