"""What those who recorded the samples state of them is what the decoders find."""

import csv
import gzip
import io
import json
from collections import Counter
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from google.protobuf.json_format import ParseDict

from pipeline.decode import DECODERS
from pipeline.decode.otlp_json import REQUESTS
from pipeline.model.decoded import Decoded
from pipeline.model.tables import RESOURCES, SPANS
from tests.collectors.receive.test_file import imported
from tests.pipeline.decode.otlp_oracle import with_base64_ids
from tests.recordings import shared
from tests.samples.files import known_files

CORPUS = "data/otlp-corpus"
OTLP_FILES = [known for known in known_files() if known.path.startswith(f"{CORPUS}/otlp-json/")]
SOCIAL_NETWORK = "data/traces-deathstarbench-socialnet"


def frame(decoded: Decoded, table: str) -> pl.DataFrame:
    return pl.DataFrame(decoded.batches[table])


def spans_with_services(decoded: Decoded) -> pl.DataFrame:
    resources = frame(decoded, RESOURCES.name).select("resource_id", "service_name")
    return frame(decoded, SPANS.name).join(resources, on="resource_id")


def documents(path: Path) -> list[object]:
    """The JSON documents that follow each other in a file."""
    text = path.read_text(encoding="utf-8").strip()
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        found.append(value)
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found


def test_the_combined_log_has_its_lines_clients_days_and_statuses() -> None:
    content = gzip.decompress(shared("data/logs-access/apache_combined_10k.log.gz").read_bytes())
    decoded = DECODERS["combined"]([content])
    assert decoded.refused == ()
    logs = frame(decoded, "access_logs")
    assert logs.height == 10_000
    clients = Counter(logs["downstream_remote_address"].to_list())
    assert len(clients) == 1_753
    assert clients.most_common(1)[0][1] == 482
    assert Counter(logs["http_response_status_code"].to_list()) == {
        200: 9_126, 304: 445, 404: 213, 301: 164, 206: 45, 500: 3, 403: 2, 416: 2,
    }  # fmt: skip
    days = set(logs["start_time"].dt.date().to_list())
    assert days == {date(2015, 5, day) for day in range(17, 21)}


@pytest.fixture(scope="module")
def social_network() -> pl.DataFrame:
    path = shared(f"{SOCIAL_NETWORK}/jaeger_api_response.json.gz")
    decoded = DECODERS["jaeger_json"]([gzip.decompress(path.read_bytes())])
    assert decoded.refused == ()
    return spans_with_services(decoded)


def test_the_social_network_has_its_traces_spans_and_services(
    social_network: pl.DataFrame,
) -> None:
    assert social_network.height == 660
    assert social_network["trace_id_low"].n_unique() == 20
    assert social_network["service_name"].n_unique() == 12
    seconds = social_network["start_time"].dt.strftime("%F %T")
    assert seconds.min() == "2023-09-28 23:30:58"
    assert seconds.max() == "2023-09-28 23:31:00"


def test_the_calls_of_the_social_network_are_those_that_its_authors_tell(
    social_network: pl.DataFrame,
) -> None:
    path = shared(f"{SOCIAL_NETWORK}/edges_flat.csv.gz")
    told = csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode()))
    named = social_network.select(
        "trace_id_low", "span_id", "parent_span_id", "name", "service_name", "duration_ns",
        start=pl.col("start_time").cast(pl.Int64),
    )  # fmt: skip
    calls = named.join(
        named, left_on=["trace_id_low", "parent_span_id"], right_on=["trace_id_low", "span_id"],
        suffix="_of_parent",
    )  # fmt: skip
    found = Counter(
        (
            row["trace_id_low"] % 2**64,
            row["parent_span_id"] % 2**64,
            row["span_id"] % 2**64,
            row["name"],
            row["name_of_parent"],
            row["start"] // 1_000,
            row["duration_ns"] // 1_000,
            row["duration_ns_of_parent"] // 1_000,
        )
        for row in calls.iter_rows(named=True)
    )
    assert found == Counter(
        (
            int(row["traceId"], 16),
            int(row["parentId"], 16),
            int(row["childId"], 16),
            row["childOperation"],
            row["parentOperation"],
            int(row["startTime"]),
            int(row["childDuration"]),
            int(row["parentDuration"]),
        )
        for row in told
    )


def test_the_install_recorded_by_zipkin_has_its_spans_and_services() -> None:
    content = shared(f"{CORPUS}/zipkin-v2-json/smartthings-mobile-web-install.json").read_bytes()
    decoded = DECODERS["zipkin_json"]([content])
    spans = spans_with_services(decoded)
    untimed = sum(refusal.records for refusal in decoded.refused)
    assert spans.height + untimed == 1_041
    assert spans["service_name"].n_unique() == 16


@pytest.mark.parametrize(
    ("otlp", "jaeger", "spans"),
    [
        ("otlp2jaeger-in.json", "otlp2jaeger-out.json", 2),
        ("otlp2jaeger-multi-in-combined.json", "oltp2jaeger-multi-out.json", 4),
        ("otlp2jaeger-multi-in.json.txt", "oltp2jaeger-multi-out.json", 4),
    ],
)
def test_otlp_and_what_jaeger_makes_of_it_are_the_same_rows(
    otlp: str, jaeger: str, spans: int, tmp_path: Path
) -> None:
    folder = shared(f"{CORPUS}/otlp-to-jaeger-pairs/jaeger-ui")
    (message,) = imported(tmp_path, folder / otlp).messages
    told = DECODERS["otlp_traces"]([message.value])
    kept = DECODERS["jaeger_json"]([(folder / jaeger).read_bytes()])
    sides = [
        frame(side, SPANS.name)
        .with_columns(pl.col("duration_ns") // 1_000)  # Jaeger counts microseconds
        .join(frame(side, RESOURCES.name), on="resource_id", suffix="_of_resource")
        .sort("trace_id_low", "span_id")
        for side in (told, kept)
    ]
    assert sides[0].height == spans
    assert sides[0].equals(sides[1])


@pytest.mark.parametrize("known", OTLP_FILES, ids=lambda known: known.path)
def test_otlp_json_and_protobuf_become_the_same_rows(known, tmp_path: Path) -> None:
    path = shared(known.path)
    request = REQUESTS[known.format]
    official = [
        ParseDict(with_base64_ids(one), request(), ignore_unknown_fields=True).SerializeToString()
        for one in documents(path)
    ]
    ours = [message.value for message in imported(tmp_path, path).messages]
    expected, found = DECODERS[known.format](official), DECODERS[known.format](ours)
    assert set(found.batches) == set(expected.batches)
    for table, rows in expected.batches.items():
        assert found.batches[table].equals(rows), table
    assert sum(one.records for one in found.refused) == sum(one.records for one in expected.refused)
