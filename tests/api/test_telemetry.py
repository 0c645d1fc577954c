"""Meshweir tells of itself when it is asked to, and only then."""

import asyncio

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from api import telemetry as telemetry_module
from api.app import create_app
from api.telemetry import Telemetry
from pipeline.errors import InvalidInput
from tests.api.conftest import context_for


class Job:
    """A job that does what it is told to."""

    name = "minutes"
    cadence = 0.2

    def __init__(self, result):
        self.result = result

    async def run(self):
        """Answer or fail."""
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def told(ledger):
    """Telemetry into memory: itself, its spans, its metrics by name."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    made = Telemetry.exporting(ledger, "0.1.0", spans=spans, reader=reader)

    def metrics():
        data = reader.get_metrics_data()
        return {
            metric.name: metric.data.data_points
            for of in data.resource_metrics
            for scope in of.scope_metrics
            for metric in scope.metrics
        }

    def finished():
        for provider in made._providers:
            provider.force_flush()
        return spans.get_finished_spans()

    yield made, finished, metrics
    made.close()


def test_it_is_off_by_default(ledger):
    made = Telemetry.from_environment(ledger, "0.1.0", {})
    job = Job(result=True)
    assert made.middleware() == []
    assert made.observed([job]) == [job]


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_it_is_off_when_told_so(ledger, environment):
    assert Telemetry.from_environment(ledger, "0.1.0", environment).tracer is None


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_endpoint_of_one_signal_turns_on_that_signal(ledger, protocol):
    environment = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    made = Telemetry.from_environment(ledger, "0.1.0", environment)
    assert made.tracer is not None
    assert made.requests is None
    made.close()


def test_an_unknown_protocol_is_refused(ledger):
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon",
    }
    with pytest.raises(InvalidInput, match="carrier-pigeon"):
        Telemetry.from_environment(ledger, "0.1.0", environment)


def test_a_request_is_a_server_span_in_its_callers_trace(told, mesh, ledger):
    made, finished, metrics = told
    app = create_app(context_for(mesh, ledger), middleware=made.middleware())
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with TestClient(app) as client:
        client.get("/v1/services/shop%2Fcart", headers={"traceparent": parent})
        client.get("/nothing")
    span, missing = finished()
    assert span.name == "GET /v1/services/{service}"
    assert span.kind.name == "SERVER"
    assert f"{span.context.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert span.attributes["http.response.status_code"] == 200
    assert span.resource.attributes["service.name"] == "meshweir"
    assert missing.name == "GET"
    durations = metrics()["http.server.request.duration"]
    assert sum(point.count for point in durations) == 2


def test_the_ledger_is_exported(told):
    _, _, metrics = told
    counted = {
        point.attributes["outcome"]: point.value for point in metrics()["meshweir.ingest.records"]
    }
    assert counted["accepted"] == 360
    assert counted["rejected"] == 5


def test_a_quick_run_of_a_job_is_measured_but_no_span(told):
    made, finished, metrics = told
    (job,) = made.observed([Job(result=True)])
    assert (job.name, job.cadence) == ("minutes", 0.2)
    assert asyncio.run(job.run()) is True
    assert finished() == ()
    assert metrics()["meshweir.job.duration"][0].count == 1


def test_a_failed_run_is_a_span_with_the_error(told):
    made, finished, _ = told
    (job,) = made.observed([Job(result=ValueError("broken"))])
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(job.run())
    (span,) = finished()
    assert span.name == "job minutes"
    assert span.events[0].attributes["exception.message"] == "broken"


def test_a_slow_run_is_a_span(told, monkeypatch):
    made, finished, _ = told
    monkeypatch.setattr(telemetry_module, "SLOW_SECONDS", 0.0)
    (job,) = made.observed([Job(result=False)])
    asyncio.run(job.run())
    assert [span.name for span in finished()] == ["job minutes"]
