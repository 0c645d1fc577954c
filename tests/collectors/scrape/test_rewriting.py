"""Expositions after the rules of a job: line by line what the rules say, whatever is remembered."""

import re

import pytest
from hypothesis import given, settings, strategies as st

from collectors.scrape.config import LabelLimits
from collectors.scrape.fetch import FetchFailed
from collectors.scrape.metric_rules import MetricRules
from collectors.scrape.relabel import RelabelRule
from collectors.scrape.rewriting import Rewriter, Rewritten
from collectors.scrape.series import samples_of
from pipeline.decode import DECODERS
from pipeline.model.scrape import Scrape
from tests.recordings import shared

TARGET = {"job": "shop", "instance": "one:80"}


def rules(*told: dict[str, object]) -> MetricRules:
    made = tuple(RelabelRule.model_validate(rule) for rule in told)
    return MetricRules(made, LabelLimits(), TARGET, honor_labels=False)


def rewriter(
    *told: dict[str, object], honor_timestamps: bool = True, max_bytes: int = 10_000
) -> Rewriter:
    return Rewriter(rules(*told), honor_timestamps=honor_timestamps, max_bytes=max_bytes)


def after(of: Rewriter, body: bytes) -> Rewritten:
    return of.rewritten(body, samples_of(body))


DROP = {"source_labels": ["__name__"], "regex": "b.*", "action": "drop"}
RENAME = {"source_labels": ["__name__"], "regex": "a(.*)", "target_label": "__name__",
          "replacement": "new$1"}  # fmt: skip
UNPOD = {"regex": "pod", "action": "labeldrop"}
MARK = {"source_labels": ["x"], "regex": "[12]", "target_label": "mark", "replacement": "$0"}


def test_lines_that_no_rule_changes_stay_as_they_came() -> None:
    body = b'# HELP a of "things"\n# TYPE a counter\n a{x="1"} 1\n\nb_1  2 17000\nc 3 # {t="1"} 4\n'
    assert after(rewriter(DROP), body).body == body.replace(b"b_1  2 17000\n", b"")
    assert after(rewriter({"regex": "z", "action": "labeldrop"}), body) == Rewritten(body, 0)


def test_only_the_series_of_a_line_changes() -> None:
    of = rewriter(UNPOD)
    body = b'a{x="1",pod="p"} 1.50 1700 # {trace_id="t"} 0.5 1.7\nb 2\n'
    assert after(of, body).body == b'a{x="1"} 1.50 1700 # {trace_id="t"} 0.5 1.7\nb 2\n'
    assert after(of, body.replace(b"1.50", b"9")).body.startswith(b'a{x="1"} 9 1700')


def test_a_new_name_has_the_type_and_unit_of_the_old_one() -> None:
    body = (
        b"# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n"
        b'a_seconds_bucket{le="1"} 1\na_seconds_bucket{le="+Inf"} 2\n'
        b"a_seconds_sum 3\na_seconds_count 2\n# TYPE a counter\na_total 7\na_free 1\n# EOF\n"
    )
    told = after(rewriter(RENAME), body).body
    assert told.startswith(
        b"# TYPE new_seconds histogram\n# UNIT new_seconds seconds\n# TYPE new counter\n"
        b"# TYPE a_seconds histogram\n"
    )
    assert told.endswith(b"new_total 7\nnew_free 1\n# EOF\n")
    head = Scrape(1_764_172_800_000, None, up=True).line()
    decoded = DECODERS["openmetrics_text"]([head + told])
    assert decoded.refused == ()
    rows = {row["name"]: row for row in decoded.batches["metric_points"].to_pylist()}
    assert {name: row["type"] for name, row in rows.items()} == {
        "new_seconds": "histogram", "new_total": "sum", "new_free": "gauge",
    }  # fmt: skip
    assert rows["new_seconds"]["unit"] == "s"


def test_a_name_that_is_noted_already_keeps_what_is_noted() -> None:
    body = b'# TYPE a counter\n# TYPE new gauge\na 1\nnew{x="1"} 2\n'
    assert after(rewriter(RENAME), body).body == body.replace(b"\na 1", b"\nnew 1")


def test_of_series_that_rules_made_equal_the_first_is_kept_and_the_others_counted() -> None:
    told = after(rewriter(UNPOD), b'a{pod="1"} 1\na{pod="2"} 2\na{x="1"} 3\na 4\n')
    assert told == Rewritten(b'a 1\na{x="1"} 3\n', 2)
    timed = b'a{pod="1"} 1 1000\na{pod="1"} 2 2000\n'
    assert after(rewriter(UNPOD), timed) == Rewritten(b"a 1 1000\na 2 2000\n", 0)


def test_times_of_their_own_are_taken_away_where_they_are_not_honored() -> None:
    of = rewriter(DROP, honor_timestamps=False)
    body = b'a{x="1 2"} 1  1700000000.5 # {t="1"} 4 5\nb 2 17\nc 3\nd NaN -5\r\n'
    assert after(of, body).body == b'a{x="1 2"} 1 # {t="1"} 4 5\nc 3\nd NaN\r\n'


def test_a_body_that_grows_past_the_limit_is_refused() -> None:
    of = rewriter({"target_label": "x", "replacement": "y" * 200})
    with pytest.raises(FetchFailed, match="after metric_relabel_configs") as told:
        after(of, b"".join(b"a%d 1\n" % number for number in range(100)))
    assert told.value.reason == "too large"


def test_what_is_known_does_not_grow_with_series_that_come_and_go() -> None:
    of = rewriter(RENAME, UNPOD)
    for turn in range(50):
        after(of, b"".join(b'a%d{pod="p"} 1\n' % number for number in range(turn, turn + 20)))
    assert len(of._known.hashes) <= 40
    assert len(of._known.unpacked()) <= 40
    assert len(of._known.renamed) <= 60


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("samples/mesh/istio-ztunnel-openmetrics.txt", "openmetrics_text"),
        ("samples/mesh/linkerd-proxy-metrics.prom.txt", "prometheus_text"),
        ("samples/gateways/kong-prometheus-3.0.txt", "prometheus_text"),
    ],
)
def test_real_scrapes_are_the_same_but_for_what_rules_say(path: str, name: str) -> None:
    body = shared(path).read_bytes()
    nothing = {"regex": "nothing_like_it", "action": "labeldrop"}
    assert after(rewriter(nothing, max_bytes=1 << 20), body) == Rewritten(body, 0)
    named = {"source_labels": ["__name__"], "regex": "(.*)", "target_label": "__name__",
             "replacement": "x_$1"}  # fmt: skip
    told = after(
        rewriter(named, {"target_label": "y", "replacement": "z"}, max_bytes=1 << 20), body
    )
    head = Scrape(1_764_172_800_000, None, up=True).line()
    before, now = (
        DECODERS[name]([head + text]).batches["metric_points"].to_pylist()
        for text in (body, told.body)
    )
    assert [(f"x_{row['name']}", row["type"], row["value"], row["count"]) for row in before] == [
        (row["name"], row["type"], row["value"], row["count"]) for row in now
    ]
    assert all('"y":"z"' in row["attributes"] for row in now)


SERIES = st.builds(
    '{}{{x="{}",pod="{}"}}'.format,
    st.sampled_from(["a", "a_total", "b", "b_sum", "c"]),
    st.sampled_from(["1", "2", "3", "\\\\", '\\"', ""]),
    st.sampled_from(["p", "q"]),
)
LINES = st.one_of(
    st.builds("{} {}".format, SERIES, st.integers(0, 9)),
    st.builds("{} {} {}".format, SERIES, st.integers(0, 9), st.integers(1, 99)),
    st.sampled_from(["# TYPE a counter", "# HELP b x", "", "a{x} 1", "{x=} 2", "a{"]),
)
BODIES = st.lists(LINES, max_size=12).map(lambda lines: "".join(f"{one}\n" for one in lines))


def expected(body: str, told: tuple[dict[str, object], ...]) -> list[str]:
    """The lines of samples after rules, one by one; of equal ones without a time the first."""
    of, lines, known = rules(*told), [], set()
    for line in body.splitlines():
        if not line or line.startswith("#"):
            continue
        found = samples_of(line.encode())
        series = line[: int(found.ends[0])]
        verdict = of.verdict(series.encode())
        timed = re.search(r"\} \d+ \d+$", line) is not None
        if verdict.text is None or (not timed and verdict.key in known):
            continue
        if not timed:
            known.add(verdict.key)
        lines.append(verdict.text.decode() + line[len(series) :])
    return lines


@settings(deadline=None)
@given(
    st.lists(BODIES, min_size=1, max_size=5),
    st.lists(st.sampled_from([DROP, RENAME, UNPOD, MARK]), max_size=3),
)
def test_whatever_was_exposed_before_the_lines_are_those_of_the_rules(
    bodies: list[str], told: list[dict[str, object]]
) -> None:
    of = rewriter(*told)
    for body in [*bodies, *bodies]:
        lines = after(of, body.encode()).body.decode().splitlines()
        samples = [line for line in lines if line and not line.startswith("#")]
        assert samples == expected(body, tuple(told))
        assert [line for line in body.splitlines() if line.startswith("#")] == [
            line for line in lines if line.startswith("#") and "new" not in line
        ]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=12), st.sampled_from([b'a{pod="1"} 1', b"\n", b"{", b'"'])),
        max_size=20,
    ).map(b"".join)
)
def test_any_bytes_are_passed_on_or_refused(body: bytes) -> None:
    told = after(rewriter(UNPOD, RENAME, honor_timestamps=False), body)
    assert len(samples_of(told.body).starts) + told.twice <= len(samples_of(body).starts)
    none = after(rewriter({"regex": "nothing", "action": "labeldrop"}), body)
    assert none.twice or none.body == body
