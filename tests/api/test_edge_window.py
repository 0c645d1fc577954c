"""The graph from minutes that the store added up is the graph from the minutes themselves."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.analyze import graph
from pipeline.model.tables import ALIASES, EDGE_MINUTES, MEASURES, SPANS
from pipeline.model.topology import NOT_RECEIVED, GroupBy, Reporter
from pipeline.store import Unit, open_store

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
END = START + timedelta(minutes=8)
NOW = START + timedelta(minutes=6)

NAMES = st.sampled_from(["shop/a", "shop/b", "pay/c"])
VERSIONS = st.sampled_from([None, "v1", "v2"])
ENDS = st.one_of(
    st.tuples(NAMES, st.sampled_from(["service", "gateway"]), st.none()),
    st.tuples(st.none(), st.none(), st.sampled_from([NOT_RECEIVED, "10.0.0.1", "c", None])),
)
BUCKETS = st.one_of(
    st.none(), st.dictionaries(st.integers(-50, 50), st.integers(1, 10**9), max_size=4)
)


@st.composite
def minute_rows(draw):
    """One row of ``edge_minutes``; minutes outside the window too."""
    row = dict.fromkeys(EDGE_MINUTES.names)
    for end in ("client", "server"):
        row[end], row[f"{end}_kind"], row[f"{end}_alias"] = draw(ENDS)
        row[f"{end}_version"] = draw(VERSIONS)
    row |= {name.name: draw(st.integers(0, 10**9)) for name in MEASURES[:-3]}
    held = draw(BUCKETS)
    return row | {
        "slice": 1,
        "minute": START.replace(tzinfo=None) + timedelta(minutes=draw(st.integers(-1, 9))),
        "protocol": draw(st.sampled_from([None, "http", "grpc"])),
        "reporter": draw(st.sampled_from([one.value for one in Reporter])),
        "signal": draw(st.sampled_from(["spans", "access_logs"])),
        "system": draw(st.sampled_from(["otel", "istio"])),
        "buckets": None if held is None else sorted(held),
        "counts": None if held is None else [held[bucket] for bucket in sorted(held)],
    }


ALIAS_ROWS = [
    {"slice": 1, "alias": "10.0.0.1", "node": "shop/b", "kind": "service", "seen": 3},
    {"slice": 1, "alias": "10.0.0.1", "node": "pay/c", "kind": "service", "seen": 2},
]


@pytest.fixture(scope="module")
def store():
    """A store of one slice, whose derived rows each example replaces."""
    with tempfile.TemporaryDirectory() as directory:
        opened = open_store(Path(directory))
        span = {"trace_id_low": 1, "span_id": 1, "start_time": START.replace(tzinfo=None)}
        raw = pa.Table.from_pylist([dict.fromkeys(SPANS.names) | span], schema=SPANS.arrow)
        positions = opened.positions()
        opened.write({SPANS.name: raw}, expected=positions, positions=positions)
        opened.notice([1], pl.DataFrame(schema={"home": pl.Int64, "slice": pl.Int64}))
        yield opened
        opened.close()


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(minute_rows(), max_size=30), group_by=st.sampled_from(list(GroupBy)))
def test_minutes_summed_in_the_store_give_the_same_graph(store, rows, group_by):
    # Every key has a minute that is not young, whatever other minutes it has.
    early = [row | {"minute": START.replace(tzinfo=None)} for row in rows]
    derived = {
        EDGE_MINUTES.name: pa.Table.from_pylist(rows + early, schema=EDGE_MINUTES.arrow),
        ALIASES.name: pa.Table.from_pylist(
            [dict.fromkeys(ALIASES.names) | row for row in ALIAS_ROWS], schema=ALIASES.arrow
        ),
    }
    store.replace([Unit(1, 1)], derived, cause=1)
    aliases = store.ask("aliases")
    window = {"start": START, "end": END}
    plain, summed = (
        graph.build(minutes, aliases, **window, group_by=group_by, now=NOW)
        for minutes in (
            store.ask("edge_minutes", **window),
            store.ask("edge_window", **window, young=NOW - graph.ARRIVING),
        )
    )
    assert summed.nodes.equals(plain.nodes)
    assert summed.edges.equals(plain.edges)


def test_young_minutes_stay_apart_so_that_callers_on_their_way_can_be_left_out(store):
    counts = {name.name: 1_000_000 for name in MEASURES[:-3]}
    base = (
        dict.fromkeys(EDGE_MINUTES.names)
        | counts
        | {"slice": 1, "server": "shop/a", "server_kind": "service", "reporter": "server"}
        | {"signal": "spans", "buckets": [1], "counts": [1_000_000]}
    )
    begin = START.replace(tzinfo=None)
    orphan = base | {"client_alias": NOT_RECEIVED}
    rows = [
        orphan | {"minute": begin},
        orphan | {"minute": begin + timedelta(minutes=5)},
        base | {"minute": begin, "client": "shop/b", "client_kind": "service"},
    ]
    derived = {EDGE_MINUTES.name: pa.Table.from_pylist(rows, schema=EDGE_MINUTES.arrow)}
    store.replace([Unit(1, 1)], derived, cause=1)
    minutes = store.ask("edge_window", start=START, end=END, young=NOW - graph.ARRIVING)
    told = graph.build(minutes, store.ask("aliases"), start=START, end=END, now=NOW).edges
    assert told.select("client", "requests").rows() == [("clients", 1), ("shop/b", 1)]
