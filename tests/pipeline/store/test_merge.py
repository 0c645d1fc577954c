"""Merging derived rows is a sum: exact, and the same in any order and any grouping."""

import polars as pl
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from pipeline.model.tables import ALIASES, EDGE_MINUTES, NODE_MINUTES
from pipeline.store.merge import merged

KEYS = ["minute", "client", "server", "reporter"]

histograms = st.dictionaries(st.integers(-400, 400), st.integers(1, 10**9), max_size=4)
edge_rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.none() | st.sampled_from("ab"),
        st.none() | st.sampled_from("ab"),
        histograms,
        st.integers(0, 2**40),
    ),
    max_size=12,
)


def frame(rows: list[tuple[int, str | None, str | None, dict[int, int], int]]) -> pl.DataFrame:
    made = [
        {
            "minute": minute, "client": client, "server": server, "rows": 1, "requests": requests,
            "buckets": sorted(histogram), "counts": [histogram[at] for at in sorted(histogram)],
        }
        for minute, client, server, histogram, requests in rows
    ]  # fmt: skip
    schema = pl.from_arrow(EDGE_MINUTES.arrow.empty_table()).schema
    return pl.DataFrame(made, schema=schema).drop("slice")


def summed(rows: list[tuple[int, str | None, str | None, dict[int, int], int]]) -> dict:
    """What merging should give, one row at a time."""
    answer: dict[tuple, list] = {}
    for minute, client, server, histogram, requests in rows:
        told = answer.setdefault((minute, client, server), [0, 0, {}])
        told[0] += 1
        told[1] += requests
        for at, count in histogram.items():
            told[2][at] = told[2].get(at, 0) + count
    return answer


@given(edge_rows)
@settings(deadline=None)
def test_merging_equals_summing_row_by_row(rows: list) -> None:
    found = merged(EDGE_MINUTES, frame(rows))
    told = {
        (row["minute"], row["client"], row["server"]): [
            row["rows"],
            row["requests"],
            dict(zip(row["buckets"], row["counts"], strict=True)),
        ]
        for row in found.with_columns(pl.col("minute").to_physical()).iter_rows(named=True)
    }
    assert told == summed(rows)
    assert all(buckets == sorted(buckets) for buckets in found["buckets"].to_list())


@given(edge_rows, st.integers(0, 12), st.randoms())
@settings(deadline=None)
def test_the_order_of_merging_does_not_matter(rows: list, cut: int, random) -> None:
    at_once = merged(EDGE_MINUTES, frame(rows))
    shuffled = random.sample(rows, len(rows))
    parts = [merged(EDGE_MINUTES, frame(part)) for part in (shuffled[:cut], shuffled[cut:])]
    in_steps = merged(EDGE_MINUTES, pl.concat(parts))
    assert_frame_equal(at_once, in_steps, check_row_order=False)


def test_nodes_and_aliases_are_summed_by_their_keys() -> None:
    nodes = pl.DataFrame(
        [
            {"node": "a", "route": None, "rows": 1, "buckets": [1], "counts": [2]},
            {"node": "a", "route": None, "rows": 2, "buckets": [0, 1], "counts": [3, 4]},
            {"node": "a", "route": "/", "rows": 4, "buckets": [], "counts": []},
        ],
        schema=pl.from_arrow(NODE_MINUTES.arrow.empty_table()).schema,
    ).drop("slice")
    found = merged(NODE_MINUTES, nodes).select("route", "rows", "buckets", "counts").rows()
    assert found == [(None, 3, [0, 1], [3, 6]), ("/", 4, [], [])]
    aliases = pl.DataFrame(
        [{"alias": "x", "node": "a", "seen": 2}, {"alias": "x", "node": "a", "seen": 3}],
        schema=pl.from_arrow(ALIASES.arrow.empty_table()).schema,
    ).drop("slice")
    assert merged(ALIASES, aliases)["seen"].to_list() == [5]
