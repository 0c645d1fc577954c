"""What every rule promises (``pipeline/recommend/rule.py``)."""

import random

import pytest

from pipeline.recommend import RULES
from pipeline.recommend.rule import Rule
from tests.pipeline.recommend.frames import END, START, frame, steady

ROWS = [
    *steady(),
    *steady(client="shop/cart", server="shop/stock", protocol="grpc"),
    *steady(reporter="server_proxy"),
]
ALL = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])


@ALL
def test_the_order_of_rows_does_not_matter(rule: Rule) -> None:
    shuffled = random.Random(7).sample(ROWS, len(ROWS))
    given = rule.recommend(frame(ROWS), start=START, end=END)
    assert given
    assert rule.recommend(frame(shuffled), start=START, end=END) == given


@ALL
def test_without_history_there_is_no_advice(rule: Rule) -> None:
    assert list(rule.recommend(frame([]), start=START, end=END)) == []


@ALL
def test_advice_has_evidence_an_effect_and_a_way_back(rule: Rule) -> None:
    for advice in rule.recommend(frame(ROWS), start=START, end=END):
        assert advice.rule == rule.name
        assert advice.evidence
        assert advice.reason
        assert advice.expected_effect
        assert advice.undo
        assert 0 < advice.confidence <= 1
        assert (advice.start, advice.end) == (START, END)


@ALL
def test_advice_names_no_vendor(rule: Rule) -> None:
    for advice in rule.recommend(frame(ROWS), start=START, end=END):
        told = f"{advice.reason} {advice.expected_effect} {advice.undo}".lower()
        assert [name for name in ("envoy", "istio", "kong", "linkerd") if name in told] == []


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
