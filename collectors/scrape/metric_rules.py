"""What a job makes of the series that its targets expose: rules, and limits of labels.

As in Prometheus, rules see the labels of the target beside those of the sample, and where both have
a name, ``honor_labels`` says whose it is: the sample's is ``exported_`` to rules, or the target's
not seen. On the bus the labels of the target are in the line about the scrape; so a series is
spelled with what is the sample's own, and of the target's with what a rule has changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from collectors.scrape.config import LabelLimits
from collectors.scrape.fetch import FetchFailed
from collectors.scrape.relabel import RelabelRule, relabelled
from collectors.scrape.series_text import NAME, labels_in, series_text

_EXPORTED: Final = "exported_"
_SHOWN: Final = 50
_WORD: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a series.

    Attributes:
        text: how it is spelled from now on; None when a rule drops it.
        key: equal to that of another series when both are the same now.
        name: the metric's name before.
        renamed: and the one it has now, where that is another.
    """

    text: bytes | None
    key: int
    name: str = ""
    renamed: str | None = None


class MetricRules:
    """The rules and limits for the series of one target.

    Args:
        rules: ``metric_relabel_configs``.
        limits: what labels may be afterwards.
        target: labels of the target, as Prometheus would attach them.
        honor_labels: whether the sample's label goes before the target's of that name.
    """

    def __init__(
        self,
        rules: tuple[RelabelRule, ...],
        limits: LabelLimits,
        target: Mapping[str, str],
        *,
        honor_labels: bool,
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._target = dict(target)
        self._honor_labels = honor_labels

    def verdict(self, series: bytes) -> Verdict:
        """What becomes of a series; one that is not well-formed stays, for the door to refuse.

        Raises:
            FetchFailed: rules leave it without a name, or a label is past a limit: as in
                Prometheus the scrape has failed then.
        """
        own = labels_in(series)
        if own is None:
            return Verdict(series, hash(series) & _WORD)
        seen, exported = self._seen(own)
        after = relabelled(seen, self._rules)
        if not after:
            return Verdict(None, 0)
        if NAME not in after:
            raise FetchFailed(
                f"metric_relabel_configs leave {own[NAME][:_SHOWN]} without a name",
                reason="no name after metric_relabel_configs",
                answered=True,
            )
        self._limit(after)
        if after == seen:
            return Verdict(series, _key(own))
        kept = self._kept(after, own, exported)
        renamed = None if after[NAME] == own[NAME] else after[NAME]
        return Verdict(series_text(kept), _key(kept), own[NAME], renamed)

    def _seen(self, own: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """The labels that rules see; and by name those of the sample that are exported."""
        if self._honor_labels:
            return own | {name: self._target[name] for name in self._target.keys() - own}, {}
        seen, exported = own | self._target, {}
        for name in sorted(self._target.keys() & own, key=len):
            free = _EXPORTED + name
            while free in seen:
                free = _EXPORTED + free
            seen[free] = own[name]
            exported[free] = name
        return seen, exported

    def _kept(
        self, after: dict[str, str], own: dict[str, str], exported: dict[str, str]
    ) -> dict[str, str]:
        """The labels that go on the bus: the target's, unless changed, are there already."""
        target = self._target
        honored = own.keys() if self._honor_labels else ()
        kept = {}
        for name, value in after.items():
            shared = exported.get(name, name)
            if shared != name and after.get(shared) == target[shared]:
                kept[shared] = value
            elif target.get(name) != value or name in honored:
                kept[name] = value
        return kept

    def _limit(self, labels: Mapping[str, str]) -> None:
        limits, metric = self._limits, labels[NAME][:_SHOWN]
        if 0 < limits.label_limit < len(labels):
            raise _past(metric, "label_limit", f"{len(labels)} labels", limits.label_limit)
        longest = limits.label_name_length_limit
        if longest and (name := max(labels, key=_length)) and _length(name) > longest:
            raise _past(metric, "label_name_length_limit", f"{_length(name)} bytes", longest)
        longest = limits.label_value_length_limit
        if longest and (size := max(map(_length, labels.values()))) > longest:
            raise _past(metric, "label_value_length_limit", f"{size} bytes", longest)


def _key(labels: Mapping[str, str]) -> int:
    """Python's hash of labels in any order, whose seed nobody who is scraped can know."""
    return hash(frozenset(labels.items())) & _WORD


def _length(text: str) -> int:
    return len(text.encode())


def _past(metric: str, key: str, found: str, limit: int) -> FetchFailed:
    return FetchFailed(
        f"{key}: a series of {metric} has {found}, where {limit} are allowed",
        reason=key,
        answered=True,
    )
