"""What becomes of a series: what Prometheus makes of it, and what of that is spelled."""

import pytest

from collectors.scrape.config import LabelLimits
from collectors.scrape.fetch import FetchFailed
from collectors.scrape.metric_rules import MetricRules
from collectors.scrape.relabel import RelabelRule

TARGET = {"job": "shop", "instance": "one:80", "team": "cart"}


def after(
    series: bytes, *rules: dict[str, object], honor_labels: bool = False, **limits: int
) -> bytes | None:
    told = tuple(RelabelRule.model_validate(rule) for rule in rules)
    of = MetricRules(told, LabelLimits(**limits), TARGET, honor_labels=honor_labels)
    return of.verdict(series).text


def test_without_a_rule_that_matches_a_series_is_as_it_was_spelled() -> None:
    rule = {"source_labels": ["__name__"], "regex": "b", "action": "drop"}
    for series in (b'a { x = "1" , }', b"a", b'{"a.b"}'):
        assert after(series, rule) == series
    assert after(b"b", rule) is None


def test_rules_see_the_labels_of_the_target() -> None:
    named = {"source_labels": ["job", "instance", "x"], "target_label": "y", "regex": "(.*)"}
    assert after(b'a{x="1"}', named) == b'a{x="1",y="shop;one:80;1"}'
    dropped = {"source_labels": ["team"], "regex": "cart", "action": "drop"}
    assert after(b'a{x="1"}', dropped) is None


def test_a_label_of_the_target_is_spelled_where_a_rule_changed_it() -> None:
    other = {"target_label": "instance", "replacement": "two"}
    assert after(b"a", other) == b'a{instance="two"}'
    gone = {"regex": "instance|x", "action": "labeldrop"}
    assert after(b'a{x="1",y="2"}', gone) == b'a{y="2"}'


def test_a_label_that_the_target_has_too_is_exported_to_rules_and_spelled_as_exposed() -> None:
    seen = {"source_labels": ["exported_job", "job"], "target_label": "both"}
    assert after(b'a{job="x"}', seen) == b'a{job="x",both="x;shop"}'
    renamed = {"source_labels": ["exported_job"], "target_label": "job"}
    assert after(b'a{job="x"}', renamed) == b'a{job="x",exported_job="x"}'
    taken = {"source_labels": ["exported_exported_job"], "target_label": "y"}
    assert after(b'a{job="x",exported_job="z"}', taken) == b'a{exported_job="z",job="x",y="x"}'
    dropped = {"regex": "exported_job", "action": "labeldrop"}
    assert after(b'a{job="x",y="1"}', dropped) == b'a{y="1"}'


def test_with_honor_labels_rules_see_the_samples_own() -> None:
    seen = {"source_labels": ["job", "team"], "target_label": "both"}
    assert after(b'a{job="x"}', seen, honor_labels=True) == b'a{job="x",both="x;cart"}'
    assert after(b'a{job="shop"}', seen, honor_labels=True) == b'a{job="shop",both="shop;cart"}'


def test_a_series_that_was_renamed_says_so() -> None:
    rule = RelabelRule(source_labels=("x",), target_label="__name__", regex="(.+)")
    told = MetricRules((rule,), LabelLimits(), TARGET, honor_labels=False)
    assert told.verdict(b'a{x="b.c"}').text == b'{"b.c",x="b.c"}'
    assert (told.verdict(b'a{x="c"}').name, told.verdict(b'a{x="c"}').renamed) == ("a", "c")
    assert told.verdict(b"a").renamed is None


def test_a_series_without_a_name_makes_the_scrape_fail() -> None:
    with pytest.raises(FetchFailed, match="leave a without a name") as told:
        after(b"a", {"regex": "__name__", "action": "labeldrop"})
    assert told.value.reason == "no name after metric_relabel_configs"
    assert after(b"a", {"regex": "nothing", "action": "labelkeep"}) is None


def test_what_is_not_well_formed_is_left_to_the_door() -> None:
    assert after(b"a{x}", {"regex": ".*", "action": "labeldrop"}) == b"a{x}"


def test_series_that_are_the_same_now_have_the_same_key() -> None:
    rule = RelabelRule(regex="pod", action="labeldrop")
    told = MetricRules((rule,), LabelLimits(), TARGET, honor_labels=False)
    keys = {
        told.verdict(series).key
        for series in (b'a{x="1",pod="a"}', b'a{pod="b",x="1"}', b'a { x="1" }', b'a{x="1"}')
    }
    assert len(keys) == 1
    assert told.verdict(b'a{x="2"}').key not in keys


@pytest.mark.parametrize(
    ("limits", "fits", "found"),
    [
        ({"label_limit": 5}, b'a{x="1"}', b'a{x="1",y="2"}'),
        ({"label_name_length_limit": 8}, b'a{eightttt="1"}', b'a{ninettttt="1"}'),
        ({"label_value_length_limit": 6}, 'a{x="éée"}'.encode(), 'a{x="éééé"}'.encode()),
    ],
)
def test_labels_past_a_limit_make_the_scrape_fail(
    limits: dict[str, int], fits: bytes, found: bytes
) -> None:
    assert after(fits, **limits) == fits
    with pytest.raises(FetchFailed, match=next(iter(limits))) as told:
        after(found, **limits)
    assert told.value.reason == next(iter(limits))
    dropped = {"regex": "y|ninettttt|x", "action": "labeldrop"}
    assert after(found, dropped, **limits) == b"a"
