"""A scraped text that is cut makes the same rows as one that is not."""

import orjson
import pytest
from hypothesis import given, strategies as st

from collectors.cut.exposition import cut_exposition
from pipeline.decode import DECODERS
from pipeline.model.scrape import Scrape
from tests.pipeline.decode.metric_rows import rows_of
from tests.recordings import shared

HEAD = Scrape(1_764_000_000_000, 0.25, up=True, resource={"service.name": "cart"}).line()
MIXED = b"""# HELP a of a
# TYPE a counter
a{x="1"} 1
a{x="2"} 2
# TYPE h histogram
# UNIT h seconds
h_bucket{handle="1",le="1"} 1
h_bucket{handle="1",le="+Inf"} 2
h_sum{handle="1"} 3
h_count{handle="1"} 2
h_bucket{handle="2",le="1"} 4
h_bucket{handle="2",le="+Inf"} 5
h_sum{handle="2"} 6
h_count{handle="2"} 5
# TYPE apart histogram
apart_bucket{x="1",le="1"} 1
apart_bucket{x="2",le="1"} 1
apart_bucket{x="1",le="+Inf"} 1
apart_bucket{x="2",le="+Inf"} 1
apart_sum{x="1"} 1
apart_sum{x="2"} 2
apart_count{x="1"} 1
apart_count{x="2"} 1
# TYPE s summary
s{quantile="0.5"} 1
s_sum 2
s_count 1
untold_bucket{le="1"} 1
untold_bucket{le="+Inf"} 1
untold_sum 1
untold_count 1
untold_total 7
{"http.server", x="}"} 5
bare 1 1764000000001
# TYPE gone histogram
# meshweir stale gone_bucket{le="1"}
# meshweir stale gone_bucket{le="+Inf"}
# meshweir stale gone_sum
# meshweir stale gone_count
# meshweir stale alone
"""


def rows(messages: list[bytes], format_name: str = "prometheus_text") -> list[bytes]:
    decoded = [DECODERS[format_name]([message]) for message in messages]
    assert not any(one.refused for one in decoded)
    found = [row for one in decoded for row in rows_of(one)]
    return sorted(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in found)


@pytest.mark.parametrize("size", [1, 300, 500, 1000, 10_000])
@pytest.mark.parametrize("head", [HEAD, b""], ids=["scraped", "not scraped"])
def test_rows_are_the_same_whatever_the_size(size: int, head: bytes) -> None:
    message = head + MIXED
    if not head:  # every sample needs a time of its own
        lines = [one for one in MIXED.splitlines(keepends=True) if not one.startswith(b"# m")]
        message = b"".join(
            line if line.startswith(b"#") or b" 1764" in line else line[:-1] + b" 1764000000000\n"
            for line in lines
        )
    parts = list(cut_exposition(message, size=size))
    assert rows(parts) == rows([message])
    if size >= 500:
        assert all(len(part) <= size for part in parts)
    assert len(parts) == 1 if size == 10_000 else len(parts) > 1


def test_openmetrics_ends_in_every_part() -> None:
    message = HEAD + (
        b"# TYPE a counter\n"
        b'a_total{x="1"} 1 # {trace_id="}"} 1\na_total{x="2"} 2\na_created{x="1"} 1.5e9\n# EOF\n'
        b"# meshweir stale b\n"
    )
    parts = list(cut_exposition(message, size=len(HEAD) + 100))
    assert len(parts) > 1
    assert all(part.endswith(b"# EOF\n") for part in parts)
    assert rows(parts, "openmetrics_text") == rows([message], "openmetrics_text")


def test_a_scrape_that_failed_is_cut_between_what_has_ended() -> None:
    stale = b"".join(b'# meshweir stale a{x="%d"}\n' % number for number in range(100))
    message = Scrape(1_764_000_000_000, 1.0, up=False).line() + b"# TYPE a counter\n" + stale
    parts = list(cut_exposition(message, size=1000))
    assert len(parts) > 3
    assert all(len(part) <= 1000 for part in parts)
    assert rows(parts) == rows([message])


NAMES = st.sampled_from(["a", "b_total", "c_bucket", "c_sum", "c_count", "c", "d_bucket", "d"])
LABELS = st.sampled_from(
    ["", "{}", '{x="1"}', '{x="1",le="1"}', '{le="+Inf"}', '{quantile="0.5"}', '{x="}"}']
)
NOTES = st.builds(
    "# TYPE {} {}".format,
    st.sampled_from(["a", "b_total", "c", "d"]),
    st.sampled_from(["counter", "gauge", "histogram", "summary", "untyped"]),
)
SAMPLES = st.builds("{}{} {}".format, NAMES, LABELS, st.integers(0, 9))
STALE = st.builds("# meshweir stale {}{}".format, NAMES, LABELS)


@given(
    st.lists(st.one_of(NOTES, SAMPLES), max_size=25),
    st.lists(STALE, max_size=5),
    st.integers(1, 400),
)
def test_no_sample_is_lost_or_told_twice(samples: list[str], stale: list[str], size: int) -> None:
    message = HEAD + "".join(f"{line}\n" for line in dict.fromkeys([*samples, *stale])).encode()
    told = [line for part in cut_exposition(message, size=size) for line in part.split(b"\n")]
    wanted = [one.encode() for one in dict.fromkeys([*samples, *stale]) if "# TYPE" not in one]
    assert sorted(line for line in told if line in set(wanted)) == sorted(wanted)


@pytest.mark.parametrize(
    "recording",
    [
        "linkerd2/linkerd_proxy_sampleMetrics.txt",
        "prometheus-textparse/alltypes.237mfs.prom.txt",
        "prometheus-textparse/alltypes.237mfs.nometa.prom.txt",
    ],
)
def test_recorded_expositions_are_cut_into_the_same_rows(recording: str) -> None:
    message = HEAD + shared(f"data/prom-scrapes/{recording}").read_bytes()
    parts = list(cut_exposition(message, size=10_000))
    assert len(parts) > 1
    if "nometa" not in recording:  # what has no type stays together with all of its name
        assert all(len(part) <= 10_000 for part in parts)
    assert rows(parts) == rows([message])
