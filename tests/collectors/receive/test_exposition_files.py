"""Import of files that hold what a scrape answered."""

import gzip
import os
from pathlib import Path

import pytest

from pipeline.decode import DECODERS
from pipeline.model.ledger import Flow, Outcome
from pipeline.model.scrape import Scrape
from pipeline.model.topics import FORMAT_HEADER, RAW_TELEMETRY
from tests.collectors.receive.test_file import imported, written
from tests.pipeline.decode.metric_rows import Row, rows_of
from tests.recordings import shared

WRITTEN = 1_764_000_000
TEXT = b'# TYPE a counter\na{b="c"} 1\n'


def read(tmp_path: Path, text: bytes, name: str = "auto") -> list[Row]:
    path = written(tmp_path, text)
    os.utime(path, (WRITTEN, WRITTEN))
    result = imported(tmp_path, path, name=name)
    assert result.report.error is None
    (message,) = result.messages
    assert message.partition.topic == RAW_TELEMETRY
    return rows_of(DECODERS[message.headers[FORMAT_HEADER]]([message.value]))


def test_samples_have_the_time_when_the_file_was_written(tmp_path: Path) -> None:
    (row,) = read(tmp_path, TEXT)
    assert (row["name"], row["time"], row["type"]) == ("a", WRITTEN * 10**9, "sum")


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        (TEXT, "prometheus_text"),
        (TEXT + b"# EOF\n", "openmetrics_text"),
        (b"#\n# POD x (1 of 1)\n#\n" + TEXT, "prometheus_text"),
        (b'a{b="c"} 1\nb 2.5e3\nc NaN 1700000000000\n', "prometheus_text"),
        (gzip.compress(TEXT), "prometheus_text"),
    ],
    ids=["text", "openmetrics", "banner", "no types", "gzip"],
)
def test_the_format_is_found_out(tmp_path: Path, text: bytes, format_name: str) -> None:
    report = imported(tmp_path, written(tmp_path, text)).report
    assert (report.format, report.quarantined, report.error) == (format_name, 0, None)


def test_prose_is_no_scrape(tmp_path: Path) -> None:
    report = imported(tmp_path, written(tmp_path, b"# Notes\nall was well at 5\n")).report
    assert report.accepted == 0
    assert "no telemetry in a known format" in str(report.error)


def test_a_file_that_names_its_scrape_is_that_scrape(tmp_path: Path) -> None:
    head = Scrape(1_700_000_000_000, 0.5, up=True, resource={"service.name": "cart"})
    rows = read(tmp_path, head.line() + TEXT)
    assert [row["name"] for row in rows] == [
        "a", "up", "scrape_duration_seconds", "scrape_samples_scraped",
    ]  # fmt: skip
    assert {row["time"] for row in rows} == {1_700_000_000 * 10**9}
    assert rows[0]["resource"] == {"service.name": "cart"}


def test_bad_lines_are_told_with_their_number_and_the_others_taken(tmp_path: Path) -> None:
    result = imported(tmp_path, written(tmp_path, b"# TYPE a counter\nbad line here\na 1"))
    report = result.report
    assert (report.accepted, report.quarantined) == (1, 1)
    assert report.faults[0].place == "line 2"
    counts = result.ledger.snapshot()[Flow("import", "metric_points")].outcomes
    assert (counts[Outcome.RECEIVED], counts[Outcome.ACCEPTED]) == (2, 2)


def test_openmetrics_that_was_cut_off_is_told(tmp_path: Path) -> None:
    report = imported(tmp_path, written(tmp_path, TEXT), name="openmetrics").report
    assert (report.accepted, report.quarantined) == (0, 1)
    assert report.faults[0].reason == "the text ends before its # EOF"


@pytest.mark.parametrize(
    "path",
    [
        "samples/mesh/istio-sidecar-requests.prom.txt",
        "samples/mesh/linkerd-proxy-metrics.prom.txt",
        "samples/mesh/istio-ztunnel-openmetrics.txt",
        "samples/gateways/kong-prometheus-3.0.txt",
        "data/prom-scrapes/prometheus-textparse/alltypes.237mfs.nometa.prom.txt",
        "data/prom-scrapes/prometheus-textparse/1histogram.om.txt",
    ],
)
def test_real_scrapes_are_imported_whole(tmp_path: Path, path: str) -> None:
    report = imported(tmp_path, shared(path)).report
    assert (report.quarantined, report.error) == (0, None)
    assert report.accepted > 2
