"""Recordings of real applications: the graph is the one their authors state."""

import json
import subprocess
import sys

import polars as pl
import pytest

from tests.recordings import NEZHA, NEZHA_NAMESPACE, nezha_requests, shared, traceweaver


def meshweir(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments], check=False, capture_output=True, text=True
    )


def service_edges(data) -> dict[tuple[str, str], int]:
    answer = meshweir("graph", "--data", str(data), "--format", "json")
    assert answer.returncode == 0, answer.stderr
    graph = json.loads(answer.stdout)
    real = {node["id"] for node in graph["nodes"] if node["kind"] in {"service", "gateway"}}
    return {
        (edge["client"], edge["server"]): edge["requests"]
        for edge in graph["edges"]
        if edge["client"] in real and edge["server"] in real
    }


@pytest.mark.parametrize(("app", "edges"), [("hotel", 5), ("media", 13), ("node", 5)])
def test_traceweavers_applications_have_their_edges(app, edges, tmp_path):
    files = [str(path) for path in traceweaver(app)]
    answer = meshweir("import", "--data", str(tmp_path), "--json", *files)
    assert answer.returncode == 0, answer.stderr
    assert all(file["quarantined"] == 0 for file in json.loads(answer.stdout)["files"])
    assert len(service_edges(tmp_path)) == edges


def truth(file: str) -> dict[tuple[str, str], int]:
    """Calls between services, by joining the recording's distinct rows with their parents."""
    spans = pl.read_parquet(shared(f"{NEZHA}/{file}")).unique(["TraceID", "SpanID"])
    parents = spans.select("TraceID", "Service", ParentID="SpanID")
    calls = spans.join(parents, on=["TraceID", "ParentID"], suffix="_caller").filter(
        pl.col("Service") != pl.col("Service_caller")
    )
    return {
        (f"{NEZHA_NAMESPACE}/{client}", f"{NEZHA_NAMESPACE}/{server}"): count
        for client, server, count in calls.group_by("Service_caller", "Service").len().iter_rows()
    }


@pytest.mark.e2e
def test_nezhas_boutique_has_its_edges_and_counts_repeated_rows_once(tmp_path):
    file = "traces_fault_2022-08-22.parquet"
    shared(f"{NEZHA}/{file}")
    recording = tmp_path / "nezha"
    recording.mkdir()
    files = []
    for number, request in enumerate(nezha_requests([file])):
        path = recording / f"{number:05}.pb"
        path.write_bytes(request)
        files.append(str(path))
    data = tmp_path / "data"
    answer = meshweir("import", "--data", str(data), "--json", "--format", "otlp_traces", *files)
    assert answer.returncode == 0, answer.stderr
    assert sum(told["accepted"] for told in json.loads(answer.stdout)["files"]) == 852_420
    counts = service_edges(data)
    assert counts == truth(file)
    assert len(counts) == 13
