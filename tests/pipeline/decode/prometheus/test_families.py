"""Which metric a series is part of: what was told first, then what names say."""

import pytest

from pipeline.decode.prometheus.families import (
    BUCKET,
    COUNT,
    CREATED,
    QUANTILE,
    TOTAL_SUM,
    VALUE,
    Declared,
    Name,
    families_of,
    stem_of,
)

NOTHING = Declared({}, {})


def parts(names: list[Name], declared: Declared = NOTHING) -> list[tuple[str, str, int]]:
    return [(one.shown, one.type, one.part) for one in families_of(names, declared)]


@pytest.mark.parametrize(
    ("type_", "name", "expected"),
    [
        ("histogram", "h_bucket", ("h", "histogram", BUCKET)),
        ("histogram", "h_sum", ("h", "histogram", TOTAL_SUM)),
        ("histogram", "h_count", ("h", "histogram", COUNT)),
        ("histogram", "h_created", ("h", "histogram", CREATED)),
        ("histogram", "h", ("h", "gauge", VALUE)),
        ("gaugehistogram", "h_gcount", ("h", "histogram", COUNT)),
        ("summary", "h", ("h", "summary", QUANTILE)),
        ("summary", "h_count", ("h", "summary", COUNT)),
        ("counter", "h_total", ("h_total", "sum", VALUE)),
        ("counter", "h_created", ("h_total", "sum", CREATED)),
        ("counter", "h", ("h", "sum", VALUE)),
        ("info", "h_info", ("h_info", "gauge", VALUE)),
        ("gauge", "h_count", ("h_count", "gauge", VALUE)),
    ],
)
def test_a_declared_type_says_what_its_series_are(
    type_: str, name: str, expected: tuple[str, str, int]
) -> None:
    assert parts([Name(name)], Declared({"h": type_}, {})) == [expected]


def test_a_type_of_the_own_name_comes_before_that_of_the_stem() -> None:
    declared = Declared({"h": "histogram", "h_count": "counter"}, {})
    assert parts([Name("h_count")], declared) == [("h_count", "sum", VALUE)]


def test_buckets_and_quantiles_that_were_not_declared_bring_their_sums_and_counts_along() -> None:
    names = [Name("h_bucket", le=True), Name("h_sum"), Name("s", quantile=True), Name("s_count")]
    assert parts(names) == [
        ("h", "histogram", BUCKET),
        ("h", "histogram", TOTAL_SUM),
        ("s", "summary", QUANTILE),
        ("s", "summary", COUNT),
    ]


def test_a_sum_and_a_count_alone_are_gauges() -> None:
    assert parts([Name("a_sum"), Name("a_count"), Name("a_bucket")]) == [
        ("a_sum", "gauge", VALUE), ("a_count", "gauge", VALUE), ("a_bucket", "gauge", VALUE),
    ]  # fmt: skip


def test_units_are_those_of_the_metric() -> None:
    declared = Declared({"h": "histogram"}, {"h": "seconds"})
    (family,) = families_of([Name("h_bucket", le=True)], declared)
    assert family.unit == "seconds"


@pytest.mark.parametrize(
    ("name", "type_", "stem"),
    [
        ("h_bucket", "histogram", "h"),
        ("h_count", "summary", "h"),
        ("h_total", "counter", "h_total"),
        ("h_total", "gauge", "h_total"),
        ("h", "histogram", "h"),
        ("h_sum", "", "h_sum"),
    ],
)
def test_a_type_that_was_told_with_a_part_is_that_of_the_metric(
    name: str, type_: str, stem: str
) -> None:
    assert stem_of(name, type_) == stem
