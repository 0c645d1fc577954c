"""Relabelling does what Prometheus' does; the cases are those of its ``relabel_test.go``."""

import json

import pytest
from pydantic import ValidationError

from collectors.scrape.expression import Expression
from collectors.scrape.relabel import RelabelRule, relabelled
from tests.collectors.scrape.relabel_cases import GOLDEN, cases

A = {"a": "foo", "b": "bar", "c": "baz"}

CASES = [
    pytest.param(
        A,
        [{"source_labels": ["a"], "regex": "f(.*)", "target_label": "d",
          "replacement": "ch${1}-ch${1}"}],
        A | {"d": "choo-choo"},
        id="replace",
    ),
    pytest.param(
        A,
        [
            {"source_labels": ["a", "b"], "regex": "f(.*);(.*)r", "target_label": "a",
             "replacement": "b${1}${2}m"},
            {"source_labels": ["c", "a"], "regex": "(b).*b(.*)ba(.*)", "target_label": "d",
             "replacement": "$1$2$2$3"},
        ],
        A | {"a": "boobam", "d": "boooom"},
        id="replace twice",
    ),
    pytest.param(
        {"a": "foo"},
        [{"source_labels": ["a"], "regex": ".*o.*", "action": "drop"},
         {"source_labels": ["a"], "target_label": "d"}],
        None,
        id="drop ends it",
    ),
    pytest.param(
        {"a": "foo", "b": "bar"},
        [{"source_labels": ["a"], "regex": ".*o.*", "action": "keep"}],
        {"a": "foo", "b": "bar"},
        id="keep",
    ),
    pytest.param({"a": "f"}, [{"source_labels": ["a"], "regex": "no", "action": "keep"}], None,
                 id="keep what is not there"),
    pytest.param({"a": "boo"}, [{"source_labels": ["a"], "regex": "f", "action": "drop"}],
                 {"a": "boo"}, id="a pattern is anchored"),
    pytest.param(
        {"a": "foo\nbar"},
        [{"source_labels": ["a"], "target_label": "b"}],
        {"a": "foo\nbar", "b": "foo\nbar"},
        id="a value of two lines",
    ),
    pytest.param(
        {"a": "foo", "b": "bar"},
        [{"source_labels": ["a"], "regex": "f(.*)", "target_label": "b", "replacement": ""}],
        {"a": "foo"},
        id="an empty value is no label",
    ),
    pytest.param(
        A,
        [{"source_labels": ["c"], "target_label": "d", "action": "hashmod", "modulus": 1000}],
        A | {"d": "976"},
        id="hashmod",
    ),
    pytest.param(
        {"a": "foo\nbar"},
        [{"source_labels": ["a"], "target_label": "b", "action": "hashmod", "modulus": 1000}],
        {"a": "foo\nbar", "b": "734"},
        id="hashmod of two lines",
    ),
    pytest.param(
        {"a": "foo", "b1": "bar", "b2": "baz"},
        [{"regex": "(b.*)", "replacement": "bar_${1}", "action": "labelmap"}],
        {"a": "foo", "b1": "bar", "b2": "baz", "bar_b1": "bar", "bar_b2": "baz"},
        id="labelmap",
    ),
    pytest.param(
        {"a": "foo", "__meta_my_bar": "aaa", "__meta_my_baz": "bbb", "__meta_other": "ccc"},
        [{"regex": "__meta_(my.*)", "replacement": "${1}", "action": "labelmap"}],
        {"a": "foo", "__meta_my_bar": "aaa", "__meta_my_baz": "bbb", "__meta_other": "ccc",
         "my_bar": "aaa", "my_baz": "bbb"},
        id="labelmap of found ones",
    ),
    pytest.param({"a": "foo", "b1": "bar"}, [{"regex": "b.*", "action": "labeldrop"}],
                 {"a": "foo"}, id="labeldrop"),
    pytest.param({"a": "foo", "b1": "bar"}, [{"regex": "b.*", "action": "labelkeep"}],
                 {"b1": "bar"}, id="labelkeep"),
    pytest.param(
        {"a": "FooBar"},
        [{"source_labels": ["a"], "target_label": "u", "action": "uppercase"},
         {"source_labels": ["a"], "target_label": "l", "action": "lowercase"}],
        {"a": "FooBar", "u": "FOOBAR", "l": "foobar"},
        id="case",
    ),
    pytest.param({"a": "1", "b": "1"},
                 [{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}],
                 None, id="dropequal"),
    pytest.param({"a": "1", "b": "2"},
                 [{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}],
                 None, id="keepequal"),
    pytest.param(
        {"__port__": "80", "__address__": "10.0.0.7:8080"},
        [{"source_labels": ["__address__", "__port__"], "regex": r"([^:]+)(?::\d+)?;(\d+)",
          "target_label": "__address__", "replacement": "$1:$2"}],
        {"__port__": "80", "__address__": "10.0.0.7:80"},
        id="the port of an annotation",
    ),
    pytest.param({"a": "x"}, [{"source_labels": ["a"], "target_label": "d",
                               "replacement": "$$1-$9-${nothing}"}],
                 {"a": "x", "d": "$1--"}, id="a dollar sign and unknown groups"),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "rules", "expected"), CASES)
def test_rules_do_what_those_of_prometheus_do(
    labels: dict[str, str], rules: list[dict[str, object]], expected: dict[str, str] | None
) -> None:
    before = dict(labels)
    assert relabelled(labels, [RelabelRule.model_validate(rule) for rule in rules]) == expected
    assert labels == before


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"action": "replace"}, "target_label"),
        ({"action": "hashmod", "target_label": "a"}, "modulus"),
        ({"action": "keep", "regex": "("}, "a regular expression"),
        ({"action": "mirror", "target_label": "a"}, "'replace', 'keep'"),
        ({"target_label": "a", "regx": "b"}, "regx"),
        ({"action": "labelmap", "replacement": ""}, "a replacement that is a name"),
        ({"action": "labeldrop", "regex": "a", "target_label": "b"}, "no target_label"),
        ({"action": "keepequal", "target_label": "b", "regex": "a"}, "no regex"),
        ({"action": "lowercase", "target_label": "b", "replacement": "a"}, "no replacement"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rule: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RelabelRule.model_validate(rule)


def test_cases_at_random_become_what_prometheus_made_of_them() -> None:
    golden = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    assert [{"labels": one["labels"], "rules": one["rules"]} for one in golden] == cases()
    outcomes = set()
    for case in golden:
        try:
            rules = [RelabelRule.model_validate(rule) for rule in case["rules"]]
        except ValidationError:
            after: object = "refused"
        else:
            after = relabelled(case["labels"], rules)
        assert after == case["after"], case
        outcomes.add("changed" if isinstance(after, dict) else after)
    assert outcomes == {"changed", "refused", None}


def test_no_text_keeps_an_expression_busy() -> None:
    """Python's own would try all ways to part so many letters: more than there are atoms."""
    assert Expression("(a*)*(a*)*(a*)*b").match("a" * 20_000) is None
