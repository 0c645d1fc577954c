"""GET /v1/ingest and /metrics."""

import asyncio

import pytest

from api import schemas
from api.exposition import Family, write
from api.ingest import lag_seconds, standing
from api.metrics import exposition
from pipeline.bus.port import BusStatus
from pipeline.model.ledger import Flow, Ledger, Outcome
from pipeline.model.messages import Partition
from tests.api.conftest import NOW, context_for


class FullBus:
    """A bus that holds more than the store has read."""

    def status(self):
        """The fill and the ends."""
        return BusStatus(1000, 4000, {Partition("otlp_spans"): 7})


def test_every_flow_is_counted_with_its_reasons(http):
    body = http.get("/v1/ingest").json()
    schemas.Ingest.model_validate(body)
    (flow,) = body["items"]
    assert flow == {
        "source": "otlp_http",
        "signal": "spans",
        "received": 365,
        "received_bytes": 100_000,
        "accepted": 360,
        "rejected": 5,
        "dropped": 0,
        "stored": 360,
        "quarantined": 0,
        "reasons": {"rejected": {'says "no"\nand \\ more': 5}},
        "lag_seconds": 0.0,
        "watermark": "2026-11-23T10:00:00.500Z",
    }


def test_it_tells_what_time_the_store_covers(http):
    body = http.get("/v1/ingest").json()
    assert body["stored"] == {"start": "2026-11-23T10:00:00Z", "end": "2026-11-23T10:02:00Z"}
    assert body["bus"] is None


def lag(mesh, ledger):
    context = context_for(mesh, ledger, bus=FullBus())

    async def look():
        return await standing(context)

    now = asyncio.run(look())
    return [lag_seconds(counts, now) for counts in now.flows.values()]


def test_lag_is_the_age_of_the_youngest_stored_message_while_others_wait(mesh):
    ledger = Ledger()
    flow = Flow("otlp_grpc", "spans")
    ledger.count(flow, Outcome.ACCEPTED, 10)
    assert lag(mesh, ledger) == [None]
    ledger.count(flow, Outcome.STORED, 4)
    ledger.advance(flow, watermark_ns=None, received_at_ns=int((NOW.timestamp() - 3) * 1e9))
    assert lag(mesh, ledger) == [pytest.approx(3.0)]
    ledger.count(flow, Outcome.STORED, 6)
    assert lag(mesh, ledger) == [0.0]


def test_lag_is_not_known_of_those_who_do_not_tell_when_they_received(mesh):
    ledger = Ledger()
    flow = Flow("kafka", "spans")
    for outcome in (Outcome.RECEIVED, Outcome.ACCEPTED, Outcome.STORED):
        ledger.count(flow, outcome, 10)
    assert lag(mesh, ledger) == [None]


def test_lag_is_known_where_another_process_collects(mesh):
    ledger = Ledger()
    flow = Flow("otlp_grpc", "spans")
    ledger.count(flow, Outcome.STORED, 4)
    ledger.advance(flow, watermark_ns=None, received_at_ns=int((NOW.timestamp() - 3) * 1e9))
    assert lag(mesh, ledger) == [pytest.approx(3.0)]


def test_batches_of_overtaken_workers_are_told(mesh):
    ledger = Ledger()
    ledger.count_overtaken()
    text = asyncio.run(exposition(context_for(mesh, ledger, bus=FullBus())))
    assert "meshweir_ingest_overtaken_batches_total 1" in text.splitlines()


def test_metrics_are_prometheus_text(http):
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    flow = 'source="otlp_http",signal="spans"'
    assert f'meshweir_ingest_records_total{{{flow},outcome="accepted"}} 360' in lines
    assert (
        f'meshweir_ingest_reasons_total{{{flow},outcome="rejected",'
        'reason="says \\"no\\"\\nand \\\\ more"} 5'
    ) in lines
    assert f"meshweir_ingest_watermark_seconds{{{flow}}} 1795428000.5" in lines
    assert "meshweir_ready 1" in lines
    assert any(line.startswith("process_cpu_seconds_total ") for line in lines)
    assert any(line.startswith('meshweir_build_info{version="0.1.0"') for line in lines)


def test_every_line_of_the_metrics_is_a_comment_or_a_sample(http):
    names = set()
    for line in http.get("/metrics").text.splitlines():
        if line.startswith("# TYPE "):
            names.add(line.split()[2])
        elif not line.startswith("# HELP "):
            name = line.partition("{")[0].partition(" ")[0]
            assert name in names, line
            float(line.rpartition(" ")[2])


def test_a_sample_without_a_value_is_left_out():
    text = write([Family("a", "gauge", "Help \\ with\nlines.", [({}, None), ({"x": "y"}, 0.5)])])
    assert text == '# HELP a Help \\\\ with\\nlines.\n# TYPE a gauge\na{x="y"} 0.5\n'
