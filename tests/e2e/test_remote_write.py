"""A real Prometheus writes what it scraped to the receiver, and every sample of it arrives.

The Debian package has a Prometheus that speaks remote write 1.0; 2.0 came with 2.54, and is tried
where there is one that can.
"""

import asyncio
import json
import math
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from api.demo.envoy import Address
from api.demo.network import free_address
from pipeline.decode import DECODERS
from pipeline.model.ledger import Outcome
from pipeline.model.messages import Message
from pipeline.model.topics import FORMAT_HEADER, RAW_TELEMETRY
from tests.collectors.bench import Bench, running
from tests.pipeline.decode.metric_rows import Row, rows_of
from tests.pipeline.decode.remote_messages import Request, WriteRequest

PROMETHEUS = shutil.which("prometheus")
PATIENCE = 120.0
SCRAPES = 4
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TEXT = """\
# TYPE mesh_requests counter
mesh_requests_total{{code="200"}} {scrape}
mesh_requests_total{{code="503",client_id="web.shop"}} 3
# TYPE mesh_latency_seconds histogram
mesh_latency_seconds_bucket{{le="0.1"}} {scrape} # {{trace_id="{trace_id}"}} 0.05
mesh_latency_seconds_bucket{{le="1.0"}} {scrape}0
mesh_latency_seconds_bucket{{le="+Inf"}} {scrape}1
mesh_latency_seconds_sum 7.5
mesh_latency_seconds_count {scrape}1
# TYPE mesh_gc_seconds summary
mesh_gc_seconds{{quantile="0.5"}} 0.25
mesh_gc_seconds_sum 1.5
mesh_gc_seconds_count 6
{ended}# EOF
"""
ENDED = "# TYPE mesh_gone gauge\nmesh_gone 1\n"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.anyio,
    pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus (Debian package prometheus)"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def version() -> tuple[int, ...]:
    told = subprocess.run(
        [str(PROMETHEUS), "--version"], capture_output=True, text=True, timeout=30, check=True
    )
    found = re.search(r"version (\d+)\.(\d+)", told.stdout + told.stderr)
    return tuple(map(int, found.groups())) if found else (0, 0)


@contextmanager
def exposed() -> Iterator[tuple[str, list[int]]]:
    """A target; answers its address, and the numbers of the scrapes that there were."""
    scrapes: list[int] = []

    class Exposition(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scrapes.append(len(scrapes) + 1)
            body = TEXT.format(
                scrape=scrapes[-1], trace_id=TRACE_ID, ended=ENDED if len(scrapes) < SCRAPES else ""
            )
            self.send_response(200)
            self.send_header("content-type", "application/openmetrics-text; version=1.0.0")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exposition)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", scrapes
    finally:
        server.shutdown()
        server.server_close()


@asynccontextmanager
async def prometheus(
    tmp_path: Path, target: str, receiver: str, **remote: object
) -> AsyncIterator[str]:
    """A Prometheus that scrapes a target and writes to a receiver; answers its address."""
    configuration = {
        "global": {"scrape_interval": "1s", "external_labels": {"cluster": "east"}},
        "scrape_configs": [{"job_name": "mesh", "static_configs": [{"targets": [target]}]}],
        "remote_write": [
            {
                "url": f"http://{receiver}/api/v1/write",
                "send_exemplars": True,
                "authorization": {"credentials": "a-token"},
                "queue_config": {"max_shards": 1, "batch_send_deadline": "500ms"},
                "metadata_config": {"send_interval": "1s"},
                **remote,
            }
        ],
    }
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    listen = free_address(Address(0))
    process = await asyncio.create_subprocess_exec(
        str(PROMETHEUS),
        f"--config.file={file}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={listen.host}:{listen.port}",
        "--enable-feature=exemplar-storage",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://{listen.host}:{listen.port}"
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)


async def counted(base: str, at: float) -> Counter[str]:
    """How many samples of each name Prometheus itself has, up to a time."""
    asked = urllib.parse.urlencode({"query": '{job="mesh"}[1h]', "time": at})

    def ask() -> Any:
        with urllib.request.urlopen(f"{base}/api/v1/query?{asked}", timeout=30) as answer:
            return json.load(answer)

    found = await asyncio.to_thread(ask)
    names: Counter[str] = Counter()
    for series in found["data"]["result"]:
        names[series["metric"]["__name__"]] += len(series["values"])
    return names


def written(messages: list[Message], until_ms: float) -> Counter[str]:
    """How many samples of each name are in messages, up to a time, without those that end."""
    names: Counter[str] = Counter()
    for message in messages:
        second = message.headers[FORMAT_HEADER] == "remote_write_2"
        parsed = (Request if second else WriteRequest).FromString(message.value)
        for series in parsed.timeseries:
            name = labels_of(parsed, series)["__name__"]
            kept = [one for one in series.samples if one.timestamp <= until_ms]
            names[name] += sum(not math.isnan(one.value) for one in kept)
    return names


def labels_of(parsed: Any, series: Any) -> Mapping[str, str]:
    if hasattr(parsed, "symbols"):
        texts = [parsed.symbols[reference] for reference in series.labels_refs]
        return dict(zip(texts[::2], texts[1::2], strict=True))
    return {label.name: label.value for label in series.labels}


async def arrived(at: Bench, until_ms: float) -> list[Message]:
    """All messages, once one is younger than that time."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        messages = await at.messages(RAW_TELEMETRY)
        rows = decoded(messages[-1:])
        if rows and max(row["time"] for row in rows) > (until_ms + 3_000) * 1_000_000:
            return messages
        await asyncio.sleep(0.5)
    raise AssertionError("nothing arrived")


def decoded(messages: list[Message]) -> list[Row]:
    return [
        row
        for message in messages
        for row in rows_of(DECODERS[message.headers[FORMAT_HEADER]]([message.value]))
    ]


async def scraped(scrapes: list[int], count: int) -> None:
    end = time.monotonic() + PATIENCE
    while len(scrapes) < count:
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("least", "remote"),
    [
        ((2, 25), {}),
        ((2, 54), {"protobuf_message": "io.prometheus.write.v2.Request"}),
    ],
    ids=["1.0", "2.0"],
)
async def test_all_that_prometheus_scraped_arrives(
    tmp_path: Path, least: tuple[int, int], remote: dict[str, object]
) -> None:
    if version() < least:
        pytest.skip(f"this Prometheus is older than {'.'.join(map(str, least))}")
    async with running(tmp_path, intake={"token": "a-token"}) as at:
        receiver = at.collectors.addresses["remote_write"]
        with exposed() as (target, scrapes):
            async with prometheus(tmp_path, target, receiver, **remote) as base:
                await scraped(scrapes, SCRAPES + 3)
                until = time.time() - 1
                expected = await counted(base, until)
                messages = await arrived(at, until * 1000)
        told = written(messages, until * 1000)
        assert expected["mesh_latency_seconds_bucket"] % 3 == 0
        assert {name: told[name] for name in expected} == expected
        assert at.count("remote_write", "metric_points", Outcome.REJECTED) == 0
        check_rows(decoded(messages), target)


def check_rows(rows: list[Row], target: str) -> None:
    ours = [row for row in rows if row["name"].startswith("mesh_")]
    assert {row["resource"]["service.instance.id"] for row in ours} == {target}
    assert {row["resource"]["service.name"] for row in ours} == {"mesh"}
    histograms = [row for row in ours if row["name"] == "mesh_latency_seconds"]
    assert histograms[0]["type"] == "histogram"
    assert histograms[0]["explicit_bounds"] == [0.1, 1.0]
    for row in histograms:
        scrape = row["bucket_counts"][0]
        assert row["bucket_counts"] == [scrape, 10 * scrape - scrape, 1]
        assert row["attributes"] == {"cluster": "east"}
    exemplars = [told["trace_id"] for row in ours for told in row.get("exemplars", ())]
    assert set(exemplars) == {TRACE_ID}
    assert {row["name"] for row in ours if row["flags"] == 1} == {"mesh_gone"}
    callers = {row["attributes"].get("client_id") for row in ours if "total" in row["name"]}
    assert callers == {None, "web.shop"}
