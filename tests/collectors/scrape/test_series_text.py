"""A series as text and as labels."""

import pytest
from hypothesis import given, settings, strategies as st

from collectors.scrape.series import series_of
from collectors.scrape.series_text import NAME, labels_in, series_text
from pipeline.decode import DECODERS
from pipeline.model.scrape import Scrape

LABELS = st.dictionaries(
    st.text(min_size=1, max_size=6), st.text(min_size=1, max_size=8), max_size=5
)
NAMES = st.text(min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("series", "labels"),
    [
        (b"a", {NAME: "a"}),
        (b"a:b_c{}", {NAME: "a:b_c"}),
        (b'a{x="1",y="2",}', {NAME: "a", "x": "1", "y": "2"}),
        (b'a { x = "1" , y="2" }', {NAME: "a", "x": "1", "y": "2"}),
        (b'a{x="\\"\\\\\\n}"}', {NAME: "a", "x": '"\\\n}'}),
        (b'a{x="\\q"}', {NAME: "a", "x": "\\q"}),
        (b'a{x=""}', {NAME: "a"}),
        (b'{"http.server","url.path"="/"}', {NAME: "http.server", "url.path": "/"}),
        (b'{x="1", "http.server"}', {NAME: "http.server", "x": "1"}),
        ('a{x="é"}'.encode(), {NAME: "a", "x": "é"}),
    ],
)
def test_a_series_has_its_labels(series: bytes, labels: dict[str, str]) -> None:
    assert labels_in(series) == labels


@pytest.mark.parametrize(
    "series",
    [
        b"", b"{}", b'{x="1"}', b"a{x}", b"a{x=1}", b'a{x="1"', b'a{x="1" y="2"}', b'a{="1"}',
        b"a{,}", b'a{x="1",x="2"}', b'a{"b"}', b'a{__name__="b"}', b"\xff", b'a{x="\xff"}',
        b'a"b"', b'a{x="\\"}',
    ],
)  # fmt: skip
def test_what_is_not_well_formed_has_none(series: bytes) -> None:
    assert labels_in(series) is None


@settings(deadline=None)  # the first call compiles
@given(NAMES, LABELS)
def test_labels_are_the_same_after_they_were_spelled(name: str, labels: dict[str, str]) -> None:
    told = {NAME: name} | {key: value for key, value in labels.items() if key != NAME}
    text = series_text(told)
    assert b"\n" not in text
    assert labels_in(text) == told
    (series,) = [text[a:b] for a, b in zip(*ends(text + b" 1\n"), strict=True)]
    assert series == text


def ends(body: bytes) -> tuple[list[int], list[int]]:
    found = series_of(body)
    return found.starts.tolist(), found.ends.tolist()


@pytest.mark.parametrize("name", ["a", "http.server", "ü", 'q"q'])
def test_the_decoder_reads_what_was_spelled(name: str) -> None:
    told = {NAME: name, "x": 'a "b"\\\n', "url.path": "/"}
    head = Scrape(1_764_172_800_000, None, up=True).line()
    decoded = DECODERS["prometheus_text"]([head + series_text(told) + b" 1\n"])
    assert decoded.refused == ()
    (row,) = decoded.batches["metric_points"].to_pylist()
    assert row["name"] == name
    assert '"url.path":"/"' in row["attributes"].replace(" ", "")
