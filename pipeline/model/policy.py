"""Advice in a neutral form: policies, their targets, and the recommendation that carries them.

Policy names are those Envoy and the Gateway API share; nothing here names a vendor.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PolicyTarget:
    """Where a policy applies: requests of ``client`` (None: of anybody) to ``server``.

    Both are node ids; ``route`` narrows to one route template.
    """

    server: str
    client: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True)
class Timeout:
    """Deadlines in seconds: of one attempt, and of the request with all its retries.

    Attributes:
        per_try_seconds: of one attempt.
        request_seconds: of the request, its retries and the waits between them included.
        tries: how many attempts ``request_seconds`` has room for.
    """

    per_try_seconds: float
    request_seconds: float
    tries: int = 1


Policy = Timeout
"""The union of all policies a recommendation can carry."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that an advice rests on, with where it comes from."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One piece of advice: what, where, why, how sure, and how to take it back.

    Attributes:
        id: stable: the same rule, target and policy give the same id.
        rule: name of the rule that gave it.
        policy: what to set.
        target: where.
        reason: one sentence for a person.
        evidence: the numbers behind it; never empty.
        expected_effect: what should change, replayed on the same history, in words.
        confidence: 0..1.
        undo: how to take it back.
        start: beginning of the history it rests on.
        end: end of that history.
    """

    id: str
    rule: str
    policy: Policy
    target: PolicyTarget
    reason: str
    evidence: tuple[Evidence, ...]
    expected_effect: str
    confidence: float
    undo: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse advice without evidence."""
        if not self.evidence:
            raise ValueError("a recommendation needs evidence")
