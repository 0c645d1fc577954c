"""Relabelling: the rules by which Prometheus makes targets out of what discovery found.

Rules and their order of effects are those of Prometheus' ``relabel_config``. Regular expressions
are Python's, anchored at both ends: all of RE2's common syntax means the same there.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from collectors.scrape.access import Strict

Labels = dict[str, str]

Action = Literal[
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop",
    "labelkeep", "lowercase", "uppercase",
]  # fmt: skip

_REFERENCE: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", re.ASCII)
_TARGETED: Final = {"replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"}


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as problem:
        raise ValueError(f"a regular expression: {problem}") from problem
    return text


class RelabelRule(Strict):
    """One entry of ``relabel_configs``."""

    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    target_label: str = ""
    regex: Annotated[str, AfterValidator(_expression)] = "(.*)"
    modulus: Annotated[int, Field(ge=0)] = 0
    replacement: str = "$1"
    action: Action = "replace"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action in _TARGETED and not self.target_label:
            raise ValueError(f"target_label, which the action {self.action} needs")
        if self.action == "hashmod" and not self.modulus:
            raise ValueError("modulus, which the action hashmod needs")
        return self

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """The compiled ``regex``."""
        return re.compile(self.regex, re.DOTALL)

    def apply(self, labels: Labels) -> Labels | None:
        """The labels after this rule; None when it drops them."""
        value = self.separator.join(labels.get(name, "") for name in self.source_labels)
        return _ACTIONS[self.action](self, labels, value)


def relabelled(labels: Mapping[str, str], rules: Iterable[RelabelRule]) -> Labels | None:
    """The labels after all rules, empty ones left out; None when one drops them."""
    now = dict(labels)
    for rule in rules:
        after = rule.apply(now)
        if after is None:
            return None
        now = after
    return {name: value for name, value in now.items() if value}


def _replace(rule: RelabelRule, labels: Labels, value: str) -> Labels:
    match = rule.expression.fullmatch(value)
    if match is None:
        return labels
    return labels | {_expanded(rule.target_label, match): _expanded(rule.replacement, match)}


def _keep(rule: RelabelRule, labels: Labels, value: str) -> Labels | None:
    return labels if rule.expression.fullmatch(value) else None


def _drop(rule: RelabelRule, labels: Labels, value: str) -> Labels | None:
    return None if rule.expression.fullmatch(value) else labels


def _keep_equal(rule: RelabelRule, labels: Labels, value: str) -> Labels | None:
    return labels if labels.get(rule.target_label, "") == value else None


def _drop_equal(rule: RelabelRule, labels: Labels, value: str) -> Labels | None:
    return None if labels.get(rule.target_label, "") == value else labels


def _hashmod(rule: RelabelRule, labels: Labels, value: str) -> Labels:
    # the last half of MD5, big-endian, as Prometheus does: shares of targets stay the same
    digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
    return labels | {rule.target_label: str(int.from_bytes(digest[8:]) % rule.modulus)}


def _labelmap(rule: RelabelRule, labels: Labels, _value: str) -> Labels:
    matches = [(rule.expression.fullmatch(name), value) for name, value in labels.items()]
    return labels | {_expanded(rule.replacement, match): value for match, value in matches if match}


def _labeldrop(rule: RelabelRule, labels: Labels, _value: str) -> Labels:
    return {name: value for name, value in labels.items() if not rule.expression.fullmatch(name)}


def _labelkeep(rule: RelabelRule, labels: Labels, _value: str) -> Labels:
    return {name: value for name, value in labels.items() if rule.expression.fullmatch(name)}


def _lowercase(rule: RelabelRule, labels: Labels, value: str) -> Labels:
    return labels | {rule.target_label: value.lower()}


def _uppercase(rule: RelabelRule, labels: Labels, value: str) -> Labels:
    return labels | {rule.target_label: value.upper()}


_ACTIONS: Final[Mapping[str, Callable[[RelabelRule, Labels, str], Labels | None]]] = {
    "replace": _replace,
    "keep": _keep,
    "drop": _drop,
    "keepequal": _keep_equal,
    "dropequal": _drop_equal,
    "hashmod": _hashmod,
    "labelmap": _labelmap,
    "labeldrop": _labeldrop,
    "labelkeep": _labelkeep,
    "lowercase": _lowercase,
    "uppercase": _uppercase,
}


def _expanded(template: str, match: re.Match[str]) -> str:
    """A template with Go's references to groups, ``$1`` and ``${name}``; unknown ones are empty."""

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name: Any = reference[2] or reference[3]
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(group, template)
