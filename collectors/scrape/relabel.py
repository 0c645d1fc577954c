"""Relabelling: Prometheus' rules, for the labels of what was found and for those of samples.

Rules, their defaults and the order of their effects are those of Prometheus 3's ``relabel_config``
(https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config). A label
without a value is none.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from collectors.scrape.access import Strict
from collectors.scrape.expression import Expression

Labels = dict[str, str]

_EQUAL: Final = frozenset({"regex", "modulus", "separator", "replacement"})
_NAMES: Final = frozenset({"source_labels", "target_label", "modulus", "separator", "replacement"})

_TARGETED: Final = frozenset(
    {"replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"}
)

_UNUSED: Final[Mapping[str, frozenset[str]]] = {
    "lowercase": frozenset({"replacement"}),
    "uppercase": frozenset({"replacement"}),
    "keepequal": _EQUAL,
    "dropequal": _EQUAL,
    "labeldrop": _NAMES,
    "labelkeep": _NAMES,
}
"""Keys that an action makes no use of, and that are a mistake of whoever writes them."""


def _expression(text: str) -> str:
    Expression(text)
    return text


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


Action = Annotated[
    Literal[
        "replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop",
        "labelkeep", "lowercase", "uppercase",
    ],
    BeforeValidator(_lower),
]  # fmt: skip


class RelabelRule(Strict):
    """One entry of ``relabel_configs`` or ``metric_relabel_configs``."""

    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    target_label: str = ""
    regex: Annotated[str, AfterValidator(_expression)] = "(.*)"
    modulus: Annotated[int, Field(ge=0, lt=1 << 64)] = 0
    replacement: str = "$1"
    action: Action = "replace"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action in _TARGETED and not self.target_label:
            raise ValueError(f"target_label, which the action {self.action} needs")
        if self.action == "hashmod" and not self.modulus:
            raise ValueError("modulus, which the action hashmod needs")
        if self.action == "labelmap" and not self.replacement:
            raise ValueError("a replacement that is a name, which the action labelmap needs")
        fields = type(self).model_fields
        for name in sorted(_UNUSED.get(self.action, ())):
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"no {name}, which the action {self.action} makes no use of")
        return self

    @cached_property
    def expression(self) -> Expression:
        """The compiled ``regex``."""
        return Expression(self.regex)

    def apply(self, labels: Labels) -> bool:
        """Change labels as this rule says; answers False when it drops them."""
        value = self.separator.join(labels.get(name, "") for name in self.source_labels)
        return _ACTIONS[self.action](self, labels, value)


def relabelled(labels: Mapping[str, str], rules: Iterable[RelabelRule]) -> Labels | None:
    """The labels after all rules, empty ones left out; None when one drops them."""
    now = {name: value for name, value in labels.items() if value}
    return now if all(rule.apply(now) for rule in rules) else None


def _set(labels: Labels, name: str, value: str) -> bool:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)
    return True


def _replace(rule: RelabelRule, labels: Labels, value: str) -> bool:
    groups = rule.expression.match(value)
    if groups is None:
        return True
    name = rule.expression.expanded(rule.target_label, groups)
    return not name or _set(labels, name, rule.expression.expanded(rule.replacement, groups))


def _keep(rule: RelabelRule, _labels: Labels, value: str) -> bool:
    return rule.expression.match(value) is not None


def _drop(rule: RelabelRule, _labels: Labels, value: str) -> bool:
    return rule.expression.match(value) is None


def _keep_equal(rule: RelabelRule, labels: Labels, value: str) -> bool:
    return labels.get(rule.target_label, "") == value


def _drop_equal(rule: RelabelRule, labels: Labels, value: str) -> bool:
    return labels.get(rule.target_label, "") != value


def _hashmod(rule: RelabelRule, labels: Labels, value: str) -> bool:
    # the last half of MD5, big-endian, as Prometheus does: shares of targets stay the same
    digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
    return _set(labels, rule.target_label, str(int.from_bytes(digest[8:]) % rule.modulus))


def _labelmap(rule: RelabelRule, labels: Labels, _value: str) -> bool:
    matches = [(rule.expression.match(name), value) for name, value in sorted(labels.items())]
    for groups, value in matches:
        if groups is not None:
            _set(labels, rule.expression.expanded(rule.replacement, groups), value)
    return True


def _labeldrop(rule: RelabelRule, labels: Labels, _value: str) -> bool:
    for name in [name for name in labels if rule.expression.match(name) is not None]:
        del labels[name]
    return True


def _labelkeep(rule: RelabelRule, labels: Labels, _value: str) -> bool:
    for name in [name for name in labels if rule.expression.match(name) is None]:
        del labels[name]
    return True


def _lowercase(rule: RelabelRule, labels: Labels, value: str) -> bool:
    # letter by letter, as Go does: Python's lower() knows the sigma at the end of a word
    return _set(labels, rule.target_label, "".join(letter.lower()[0] for letter in value))


def _uppercase(rule: RelabelRule, labels: Labels, value: str) -> bool:
    return _set(labels, rule.target_label, "".join(map(_upper, value)))


def _upper(letter: str) -> str:
    """The one capital of a letter; where Python knows two, as of sharp s, Go keeps the letter."""
    if len(letter.upper()) == 1:
        return letter.upper()
    return letter.title() if len(letter.title()) == 1 else letter


_ACTIONS: Final[Mapping[str, Callable[[RelabelRule, Labels, str], bool]]] = {
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
