"""Senders faster than the machine: the graph has what was acknowledged, and nothing else."""

import json
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest

from tests.benchmarks.mesh_spans import SERVICES, SPANS, TRACES
from tests.e2e.flood import Sender, peak_bytes
from tests.e2e.up import Up

SENDERS = 6
BUS_BYTES = 8 * 1024 * 1024
MEMORY_BYTES = 1536 * 1024 * 1024


def told_of_ingest(up: Up) -> dict:
    """The flow of spans over OTLP/HTTP, as ``GET /v1/ingest`` tells it."""
    with urllib.request.urlopen(f"{up.api}/v1/ingest", timeout=30) as answer:
        (flow,) = (one for one in json.load(answer)["items"] if one["source"] == "otlp_http")
    return flow


@pytest.mark.e2e
def test_what_was_acknowledged_is_on_the_graph_and_what_was_refused_is_not(
    tmp_path: Path,
) -> None:
    up = Up(tmp_path, "--bus-max-bytes", BUS_BYTES)
    try:
        senders = [Sender(up.http, number) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert [one for sender in senders for one in sender.others] == []
        acknowledged = sum(sender.acknowledged for sender in senders)
        refused = sum(sender.refused for sender in senders)
        waits = set[str | None]().union(*(sender.waits for sender in senders))
        assert acknowledged
        assert refused
        assert all(wait is not None and int(wait) >= 1 for wait in waits)

        # a caller outside, and the two calls whose both ends are in the outer half of a trace
        outer = ("clients", *(f"shop/{name}" for name in SERVICES[:3]))
        wanted = dict.fromkeys(pairwise(outer), acknowledged * TRACES)
        up.wait(lambda: up.edges("?start=-1h") == wanted, 60)
        assert up.edges("?start=-1h") == wanted

        flow = told_of_ingest(up)
        assert flow["accepted"] == flow["stored"] == acknowledged * SPANS
        assert flow["rejected"] == refused * SPANS
        assert flow["reasons"] == {"rejected": {"bus full": refused * SPANS}}
        peak = peak_bytes(up)
        assert peak is None or peak < MEMORY_BYTES
    finally:
        assert up.stop() == 130
