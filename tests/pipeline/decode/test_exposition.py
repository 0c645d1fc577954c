"""Scraped text: golden files, what each line becomes, real scrapes, and any bytes."""

import random
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit, admit_foreign
from pipeline.errors import DecodeError
from pipeline.model.scrape import STALE_PREFIX, Scrape
from pipeline.model.topics import EXPOSITION_FORMATS
from tests.golden import Golden
from tests.pipeline.decode.metric_rows import Row, rows_of, samples_in
from tests.recordings import shared

HERE = Path(__file__).parent / "golden"
PROMETHEUS, OPENMETRICS = EXPOSITION_FORMATS
AT_MS = 1_764_000_000_000
TIME = AT_MS * 1_000_000
FILE = Scrape(AT_MS, None, up=True, resource={"service.name": "cart"})
MASKED = MaskedKeys()
PLANTED = "Zq3x9SECRETv7Lm"


def decoded(text: str, format_name: str = PROMETHEUS, head: Scrape | None = FILE):
    end = "# EOF\n" if format_name == OPENMETRICS else ""
    return DECODERS[format_name]([(head.line() if head else b"") + (text + end).encode()])


def rows(text: str, format_name: str = PROMETHEUS, head: Scrape | None = FILE) -> list[Row]:
    found = decoded(text, format_name, head)
    assert found.refused == ()
    return rows_of(found)


def one(text: str, format_name: str = PROMETHEUS) -> Row:
    (row,) = rows(text, format_name)
    return row


def reasons(text: str, format_name: str = PROMETHEUS, head: Scrape | None = FILE) -> list[str]:
    return [told.reason for told in decoded(text, format_name, head).refused]


BASE = {"time": TIME, "flags": 0, "resource": {"service.name": "cart"}}
COUNTER = BASE | {"type": "sum", "temporality": 2, "is_monotonic": True}


@pytest.mark.parametrize("name", ["prometheus_text", "openmetrics_text"])
def test_a_scrape_becomes_rows(name: str, golden: Golden) -> None:
    found = DECODERS[name]([(HERE / f"{name}.in.txt").read_bytes()])
    refused = [{"offset": told.offset, "reason": told.reason} for told in found.refused]
    shown = orjson.dumps(
        {"rows": rows_of(found), "refused": refused},
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )
    golden.check(HERE / f"{name}.out.json", shown.decode() + "\n")


def test_a_counter() -> None:
    row = one('# TYPE http_requests counter\nhttp_requests{code="200"} 1027\n')
    assert row == COUNTER | {
        "name": "http_requests",
        "value": 1027.0,
        "attributes": {"code": "200"},
    }


def test_a_gauge_and_what_has_no_type() -> None:
    found = rows("# TYPE a gauge\na 1\nb 2\n# TYPE c untyped\nc 3\n# TYPE d unknown\nd 4\n")
    assert {row["type"] for row in found} == {"gauge"}
    assert [row["value"] for row in found] == [1.0, 2.0, 3.0, 4.0]


def test_without_a_type_the_name_says_that_it_is_a_counter_unless_it_was_told_otherwise() -> None:
    assert one("a_total 1\n")["type"] == "sum"
    assert one("# TYPE a_total gauge\na_total 1\n")["type"] == "gauge"


HISTOGRAM = """\
h_bucket{le="0.1",a="b"} 2
h_bucket{le="1",a="b"} 5
h_bucket{le="+Inf",a="b"} 6
h_sum{a="b"} 7.5
h_count{a="b"} 6
"""
WHOLE = BASE | {
    "name": "h",
    "type": "histogram",
    "temporality": 2,
    "count": 6,
    "sum": 7.5,
    "explicit_bounds": [0.1, 1.0],
    "bucket_counts": [2, 3, 1],
    "attributes": {"a": "b"},
}


@pytest.mark.parametrize("head", ["# TYPE h histogram\n", ""], ids=["told", "guessed"])
def test_a_histogram_is_one_row_with_what_is_in_each_bucket(head: str) -> None:
    assert one(head + HISTOGRAM) == WHOLE


def test_neither_the_order_of_lines_nor_of_labels_matters() -> None:
    shuffled = HISTOGRAM.replace('le="1",a="b"', 'a="b",le="1"').splitlines(keepends=True)
    random.Random(4).shuffle(shuffled)
    assert one("".join(shuffled) + "# TYPE h histogram\n") == WHOLE


def test_families_may_be_mixed_with_one_another() -> None:
    other = HISTOGRAM.replace("h_", "other_")
    mixed = [line for pair in zip(HISTOGRAM.split("\n"), other.split("\n"), strict=True)
             for line in pair]  # fmt: skip
    found = rows("\n".join(mixed) + "\n")
    assert found == [WHOLE, WHOLE | {"name": "other"}]


def test_a_histogram_without_its_last_bucket_has_it_by_its_count() -> None:
    text = "".join(line for line in HISTOGRAM.splitlines(keepends=True) if "Inf" not in line)
    assert one(text) == WHOLE


def test_a_histogram_that_has_only_a_count_and_a_sum() -> None:
    found = one("# TYPE h histogram\nh_count 3\nh_sum 1\n")
    assert (found["count"], found["sum"]) == (3, 1.0)
    assert "sum" not in one("# TYPE h histogram\nh_count 3\n")
    assert (found["explicit_bounds"], found["bucket_counts"]) == ([], [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('le="1",a="b"} 5', 'le="1",a="b"} 1'),
        ('le="1",a="b"} 5', 'le="1",a="b"} 2.5'),
        ('le="1",a="b"} 5', 'le="1",a="b"} NaN'),
        ('le="1"', 'le="0.1"'),
        ("h_count", 'h_count{a="b"} 6\nh_count'),
    ],
    ids=["down", "fraction", "nan", "twice", "two counts"],
)
def test_parts_that_make_no_whole_stay_rows_of_their_own(old: str, new: str) -> None:
    text = HISTOGRAM.replace(old, new)
    found = rows(text)
    assert [row["name"] for row in found] == [line.partition("{")[0] for line in text.split()[::2]]
    assert {row["type"] for row in found} == {"sum"}
    assert found[0]["attributes"] == {"le": "0.1", "a": "b"}


def test_a_bucket_whose_bound_is_no_number_stays_a_row_of_its_own() -> None:
    found = rows(HISTOGRAM + 'h_bucket{a="b"} 3\nh_bucket{a="b",le="x"} 4\n')
    assert [(row["name"], row["type"]) for row in found] == [
        ("h", "histogram"), ("h_bucket", "gauge"), ("h_bucket", "gauge"),
    ]  # fmt: skip


def test_a_summary() -> None:
    text = '# TYPE s summary\ns{quantile="0.99"} 4\ns{quantile="0.5"} 1.5\ns_sum 8\ns_count 4\n'
    assert one(text) == BASE | {
        "name": "s",
        "type": "summary",
        "count": 4,
        "sum": 8.0,
        "quantiles": [0.5, 0.99],
        "quantile_values": [1.5, 4.0],
    }


def test_a_counter_of_openmetrics_keeps_its_name_and_its_start() -> None:
    text = (
        "# TYPE requests counter\n# UNIT requests seconds\n"
        'requests_total{a="b"} 5 1764000001.5\nrequests_created{a="b"} 1763999990.5 1764000001.5\n'
    )
    assert one(text, OPENMETRICS) == COUNTER | {
        "name": "requests_total",
        "value": 5.0,
        "unit": "s",
        "time": TIME + 1_500_000_000,
        "start_time": TIME - 9_500_000_000,
        "attributes": {"a": "b"},
    }


def test_a_start_of_nothing_is_a_row_of_its_own() -> None:
    found = one("# TYPE a counter\na_created 5\n")
    assert (found["name"], found["type"], found["value"]) == ("a_created", "gauge", 5.0)


def test_info_and_state_sets_are_gauges() -> None:
    text = '# TYPE b info\nb_info{v="1"} 1\n# TYPE s stateset\ns{s="up"} 0\n'
    assert [(row["name"], row["type"]) for row in rows(text, OPENMETRICS)] == [
        ("b_info", "gauge"), ("s", "gauge"),
    ]  # fmt: skip


def test_a_histogram_of_a_gauge_is_of_no_known_temporality() -> None:
    text = '# TYPE g gaugehistogram\ng_bucket{le="+Inf"} 2\ng_gcount 2\ng_gsum 3\n'
    found = one(text, OPENMETRICS)
    assert (found["type"], found["temporality"], found["sum"]) == ("histogram", 0, 3.0)


def test_exemplars_of_a_histogram_are_told_together() -> None:
    text = (
        "# TYPE h histogram\n"
        'h_bucket{le="1"} 1 # {trace_id="0af7",span_id="b7ad"} 0.5 1764000000.1\n'
        'h_bucket{le="+Inf"} 2 # {pod="p"} 7\nh_count 2\nh_sum 7.5\n'
    )
    assert one(text, OPENMETRICS)["exemplars"] == [
        {
            "time_unix_nano": TIME + 100_000_000,
            "value": 0.5,
            "trace_id": "0af7",
            "span_id": "b7ad",
        },
        {"value": 7.0, "attributes": {"pod": "p"}},
    ]


def test_escapes_and_names_in_quotes() -> None:
    row = one(r'{"http.server","url.path"="C:\\new\"\n\d",b = "ü" , } 1' + "\n")
    assert row["name"] == "http.server"
    assert row["attributes"] == {"url.path": 'C:\\new"\n\\d', "b": "ü"}


def test_a_type_may_be_told_of_a_name_in_quotes() -> None:
    assert one('# TYPE "http.server" counter\n{"http.server"} 1\n')["type"] == "sum"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("-0.5", -0.5), ("+2", 2.0), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0),
        ("1.7976931348623157e308", 1.7976931348623157e308), ("0.1", 0.1), ("4.9e-324", 5e-324),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("9007199254740993", 9007199254740992.0), ("Inf", "inf"), ("NaN", "nan"),
        ("-Inf", "-inf"), ("+inf", "inf"), ("Infinity", "inf"),
    ],
)  # fmt: skip
def test_numbers(text: str, value: object) -> None:
    assert one(f"a {text}\n")["value"] == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_read_exactly(value: float) -> None:
    assert one(f"a {value!r}\n")["value"] == value


def test_a_label_without_value_is_none() -> None:
    assert "attributes" not in one('a{b=""} 1\n')
    assert "attributes" not in one("a{} 1\n")


def test_timestamps_are_milliseconds_in_one_format_and_seconds_in_the_other() -> None:
    assert one("a 1 1700000000123\n")["time"] == 1_700_000_000_123_000_000
    assert one("a 1 1700000000.5\n", OPENMETRICS)["time"] == 1_700_000_000_500_000_000
    assert rows("a 1 1700000000123\n", head=None)[0]["time"] == 1_700_000_000_123_000_000


def test_a_scrape_tells_of_itself() -> None:
    head = Scrape(AT_MS, 0.25, up=True, resource={"service.name": "cart"})
    found = rows('a 1\nh_bucket{le="+Inf"} 1\n' + STALE_PREFIX.decode() + "b\n", head=head)
    told = {row["name"]: row.get("value") for row in found if row["name"].startswith(("up", "scr"))}
    assert told == {"up": 1.0, "scrape_duration_seconds": 0.25, "scrape_samples_scraped": 2.0}
    assert {row["resource"]["service.name"] for row in found} == {"cart"}


def test_a_scrape_whose_text_rules_changed_tells_how_many_samples_there_were() -> None:
    head = Scrape(AT_MS, 0.25, up=True, exposed=7)
    assert Scrape.of(head.line()) == head
    told = {row["name"]: row.get("value") for row in rows("a 1\nb 2\n", head=head)}
    assert told["scrape_samples_scraped"] == 7.0
    assert told["scrape_samples_post_metric_relabeling"] == 2.0


@pytest.mark.parametrize("exposed", [b"null", b'"x"', b"[]", b"{}"])
def test_a_number_of_samples_that_is_none_is_refused(exposed: bytes) -> None:
    line = Scrape(AT_MS, 0.25, up=True, exposed=7).line().replace(b":7", b":" + exposed)
    (refusal,) = DECODERS[PROMETHEUS]([line + b"a 1\n"]).refused
    assert refusal.whole


@pytest.mark.parametrize("name", EXPOSITION_FORMATS)
def test_a_target_that_did_not_answer_is_down(name: str) -> None:
    head = Scrape(AT_MS, 10.0, up=False)
    found = rows_of(DECODERS[name]([head.line() + STALE_PREFIX + b'a{b="c"}\n']))
    assert [(row["name"], row.get("value"), row["flags"]) for row in found] == [
        ("a", None, 1),
        ("up", 0.0, 0),
        ("scrape_duration_seconds", 10.0, 0),
        ("scrape_samples_scraped", 0.0, 0),
    ]


def stale(text: str) -> str:
    prefix = STALE_PREFIX.decode()
    return "".join(f"{prefix}{line.rpartition(' ')[0]}\n" for line in text.splitlines())


def test_a_histogram_that_ended_is_one_row_without_values() -> None:
    row = one(stale(HISTOGRAM))
    kept = {name: WHOLE[name] for name in ("time", "name", "type", "temporality", "attributes")}
    assert row == kept | {"flags": 1, "resource": BASE["resource"]}


def test_a_bucket_that_ended_does_not_end_its_histogram() -> None:
    gone = STALE_PREFIX.decode() + 'h_bucket{le="0.5",a="b"}\n'
    found = rows(HISTOGRAM + gone)
    assert found[0] == WHOLE
    assert (found[1]["name"], found[1]["flags"]) == ("h_bucket", 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a", "no value"),
        ("a{b} 1", "labels that are not"),
        ('a{b="c" d="e"} 1', "labels that are not"),
        ('a{b="c} 1', "without its closing quote"),
        ('{b="c"} 1', "no metric name"),
        ("1a 1", "a character that no name has"),
        ("a-b 1", "a character that no name has"),
        ("a 0x1p3", "no number"),
        ("a 1_000", "no number"),
        ("a 1 soon", "timestamp that is no number"),
        ("a 1 9e30", "out of range"),
        ("a 1 2 3", "no timestamp"),
        ("a 1 # {b=1} 2", "an exemplar"),
        ("# TYPE a", "TYPE or UNIT"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_and_its_neighbours_are_kept(
    line: str, reason: str
) -> None:
    text = f"x 1\n{line}\ny 2\n"
    found = decoded(text)
    assert [row["name"] for row in rows_of(found)] == ["x", "y"]
    (refusal,) = found.refused
    assert reason in refusal.reason
    assert (refusal.records, refusal.whole) == (1, False)
    assert (FILE.line() + text.encode())[refusal.offset :].startswith(line.encode())


def test_a_sample_without_any_time_is_refused() -> None:
    assert "no time" in reasons("a 1\n", head=None)[0]


def test_what_was_cut_off_is_not_believed() -> None:
    assert reasons("a 1\nb 12") == ["the last line does not end"]
    (refusal,) = DECODERS[OPENMETRICS]([FILE.line() + b"a 1\n"]).refused
    assert (refusal.reason, refusal.whole) == ("the text ends before its # EOF", True)
    assert reasons("a 1\n# EOF\nb 1\n", OPENMETRICS) == ["a sample behind # EOF"]


def test_a_broken_line_about_the_scrape_costs_its_message_only() -> None:
    good = FILE.line() + b"a 1\n"
    found = DECODERS[PROMETHEUS]([good, b"# meshweir scrape {}\na 1\n", good])
    (refusal,) = found.refused
    assert (refusal.message, refusal.whole) == (1, True)
    assert len(rows_of(found)) == 2


def test_messages_do_not_see_each_others_types() -> None:
    messages = [FILE.line() + text for text in (b"# TYPE a counter\na 1\n", b"a 1\n")]
    assert [row["type"] for row in rows_of(DECODERS[PROMETHEUS](messages))] == ["sum", "gauge"]


NAMES = st.sampled_from(["a", "b_total", "h", "s", "x:y"])
LABELS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(
        lambda name: name not in ("le", "quantile")
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
        lambda text: "\r" not in text
    ),
    max_size=3,
)
BLANKS = st.sampled_from([" ", "  ", "\t"])


def line_of(name: str, labels: dict[str, str], value: float, blanks: str) -> str:
    escaped = {
        key: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for key, text in labels.items()
    }
    pairs = ",".join(f'{key}{blanks}="{text}"' for key, text in escaped.items())
    return f"{name}{{{pairs}}}{blanks}{value!r}\n"


@given(
    st.lists(
        st.tuples(NAMES, LABELS, st.floats(allow_nan=False, allow_infinity=False)), max_size=8
    ),
    BLANKS,
)
def test_what_is_written_is_read(
    told: list[tuple[str, dict[str, str], float]], blanks: str
) -> None:
    text = "".join(line_of(*sample, blanks) for sample in told)
    assert [(row["name"], row.get("attributes", {}), row["value"]) for row in rows(text)] == told


BUCKETS = st.lists(
    st.tuples(st.floats(-1e9, 1e9), st.integers(0, 10**6)), max_size=6, unique_by=lambda one: one[0]
)


@given(BUCKETS, st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_buckets_are_what_was_counted_in_them(
    counts: list[tuple[float, int]], rest: int, order: random.Random
) -> None:
    ordered = sorted(counts)
    cumulative = [sum(n for _, n in ordered[: at + 1]) for at in range(len(ordered))]
    total = sum(n for _, n in counts) + rest
    lines = [
        f'h_bucket{{le="{bound!r}"}} {n}' for (bound, _), n in zip(ordered, cumulative, strict=True)
    ]
    lines += [f'h_bucket{{le="+Inf"}} {total}', f"h_count {total}", "h_sum 1"]
    order.shuffle(lines)
    row = one("\n".join(lines) + "\n")
    assert row["explicit_bounds"] == [bound for bound, _ in ordered]
    assert row["bucket_counts"] == [*(n for _, n in ordered), rest]
    assert row["count"] == total


GOLDEN_LINES = [
    line
    for name in EXPOSITION_FORMATS
    for line in (HERE / f"{name}.in.txt").read_bytes().splitlines(keepends=True)
]


@given(st.data())
@settings(max_examples=60)
def test_broken_texts_are_answered_too(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(GOLDEN_LINES), min_size=1, max_size=12))
    text = bytearray(b"".join(lines))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=3))
        text = text or bytearray(b"x")
    check_any(bytes(text))


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(text: bytes) -> None:
    check_any(text)


def check_any(text: bytes) -> None:
    for name in EXPOSITION_FORMATS:
        found = DECODERS[name]([FILE.line() + b"good 1\n# EOF\n", text])
        assert "good" in [row["name"] for row in rows_of(found)]
        assert all(told.message == 1 for told in found.refused)
        assert all(0 <= (told.offset or 0) <= len(text) for told in found.refused)
        masked = admit_foreign(name, text, MASKED)
        assert len(masked) == len(text)
        try:
            admission = admit(name, text, MASKED)
        except DecodeError:
            continue
        assert admission.body == masked
        alone = DECODERS[name]([admission.body])
        assert admission.records == len(rows_of(alone))
        assert admission.rejected == sum(told.records for told in alone.refused)


@pytest.mark.parametrize(
    "text",
    [
        f'a{{session_token="{PLANTED}"}} 1',
        f'a{{api_key = "x\\"{PLANTED}"}} 1',
        f'a{{url="/cb?code={PLANTED}"}} 1',
        f'a{{url="https://user:{PLANTED}@h/"}} 1',
        f'a{{b="Bearer {PLANTED}"}} 1',
        f'a{{b="c"}} 1 # {{authorization="{PLANTED}"}} 1',
        f"# HELP a password={PLANTED}",
        f'# meshweir stale a{{x_secret="{PLANTED}"}}',
        f'a{{token="{PLANTED}}} 1',
    ],
)
def test_secrets_do_not_get_past_the_door(text: str) -> None:
    for name in EXPOSITION_FORMATS:
        body = FILE.line() + b'ok{code="503"} 1\n' + text.encode() + b"\n# EOF\n"
        admission = admit(name, body, MASKED)
        assert PLANTED.encode() not in admission.body
        assert b'code="503"' in admission.body
        assert len(admission.body) == len(body)


def test_a_label_that_names_a_caller_or_a_status_is_no_secret() -> None:
    line = b'a{client_id="web.shop",code="503",key="k",access_key_id="AK"} 1\n'
    assert line in admit(PROMETHEUS, FILE.line() + line, MASKED).body
    assert (
        b"web.shop"
        not in admit(
            PROMETHEUS, FILE.line() + b'a{x_employee="web.shop"} 1\n', MaskedKeys(["x-employee"])
        ).body
    )


SCRAPES = {
    "data/prom-scrapes/linkerd2/linkerd_proxy_sampleMetrics.txt": (PROMETHEUS, 199),
    "data/prom-scrapes/linkerd2/obfuscate-diagnostics-proxy-metrics.input": (PROMETHEUS, 4),
    "data/prom-scrapes/prometheus-textparse/alltypes.237mfs.prom.txt": (PROMETHEUS, 1857),
    "data/prom-scrapes/prometheus-textparse/alltypes.237mfs.nometa.prom.txt": (PROMETHEUS, 1857),
    "data/prom-scrapes/prometheus-textparse/alltypes.5mfs.om.txt": (OPENMETRICS, 53),
    "data/prom-scrapes/prometheus-textparse/1histogram.om.txt": (OPENMETRICS, 42),
    "samples/mesh/istio-sidecar-requests.prom.txt": (PROMETHEUS, 34),
    "samples/mesh/istio-ztunnel-openmetrics.txt": (OPENMETRICS, 11),
    "samples/mesh/linkerd-proxy-metrics.prom.txt": (PROMETHEUS, 199),
    "samples/mesh/linkerd-proxy-metrics-diagnostics.prom.txt": (PROMETHEUS, 4),
    "samples/gateways/kong-prometheus-3.0.txt": (PROMETHEUS, 96),
}


@pytest.mark.parametrize("path", SCRAPES)
def test_of_a_real_scrape_every_sample_is_in_a_row(path: str) -> None:
    name, samples = SCRAPES[path]
    found = DECODERS[name]([FILE.line() + shared(path).read_bytes()])
    assert found.refused == ()
    assert samples_in(rows_of(found)) == samples


def test_of_a_scrape_with_holes_only_what_is_no_sample_is_refused() -> None:
    text = shared("samples/gateways/kong-prometheus-pre3.0.txt").read_bytes()
    found = DECODERS[PROMETHEUS]([Scrape(AT_MS, 1.0, up=True).line() + text])
    (scraped,) = [row for row in rows_of(found) if row["name"] == "scrape_samples_scraped"]
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(b"#")]
    assert scraped["value"] + sum(told.records for told in found.refused) == len(lines) == 38
