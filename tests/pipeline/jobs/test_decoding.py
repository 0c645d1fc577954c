"""Messages that others wrote on the bus: what the door does for ours is done when they are read."""

import base64

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given, settings, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.model.ledger import Flow, Outcome
from pipeline.model.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS, RAW_TELEMETRY, TOPICS
from pipeline.store import open_store
from tests.collectors.payloads import logs, metrics, traces
from tests.pipeline.jobs.ingesting import ingested, told, with_secret

SPANS = Flow("otlp_http", "spans")
KAFKA = Flow("kafka", "spans")


def test_messages_of_others_need_no_headers(tmp_path, store):
    body = traces(2, wrong_ids=1).SerializeToString()
    counts = ingested(tmp_path, store, (OTLP_SPANS, body, {}))[KAFKA]
    assert counts.outcomes == {
        Outcome.RECEIVED: 3, Outcome.ACCEPTED: 3, Outcome.STORED: 2, Outcome.QUARANTINED: 1,
    }  # fmt: skip
    assert counts.reasons == {(Outcome.QUARANTINED, "trace id is not 16 bytes"): 1}
    assert counts.received_bytes == len(body)
    assert counts.received_at_ns is None
    assert counts.watermark_ns == 1_700_000_000_000_000_000


def as_json(request) -> bytes:
    """The request as the Kafka exporter's encoding ``otlp_json`` writes it."""
    document = json_format.MessageToDict(request)
    for resource in document.get("resourceSpans", []):
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId"):
                    span[name] = base64.b64decode(span[name]).hex()
    return orjson.dumps(document)


def zipkin(secret: str) -> bytes:
    span = {"traceId": "ab" * 8, "id": "cd" * 8, "timestamp": 1_700_000_000_000_000, "duration": 5}
    return orjson.dumps([span | {"tags": {"password": secret}}])


@pytest.mark.parametrize(
    ("topic", "body", "headers"),
    [
        (OTLP_SPANS, with_secret("hunter2").SerializeToString(), {}),
        (OTLP_SPANS, as_json(with_secret("hunter2")), {}),
        (RAW_TELEMETRY, zipkin("hunter2"), {"format": "zipkin_json"}),
    ],
    ids=["protobuf", "json", "zipkin"],
)
def test_secrets_of_other_writers_are_masked_before_they_are_stored(
    tmp_path, store, topic, body, headers
):
    counts = ingested(tmp_path, store, (topic, body, headers))[KAFKA]
    assert counts.outcomes[Outcome.STORED] == 1
    (span,) = store.ask("trace_spans", **_trace(store)).to_dicts()
    assert "password" in span["attributes"]
    assert "hunter2" not in span["attributes"]


def _trace(store):
    row = store.ask("pair_spans", slices=[1]).row(0, named=True)
    return {name: row[name] for name in ("trace_id_high", "trace_id_low")}


@pytest.mark.parametrize(
    ("topic", "request_", "signal"),
    [
        (OTLP_SPANS, traces(3), "spans"),
        (OTLP_METRICS, metrics(3), "metric_points"),
        (OTLP_LOGS, logs(3), "logs"),
    ],
)
def test_otlp_json_is_read_on_every_topic_of_otlp(tmp_path, store, topic, request_, signal):
    body = as_json(request_)
    assert body[:1] == b"{"
    flows = ingested(tmp_path, store, (topic, body, {}), (topic, b'{"resource', {}))
    counts = flows[Flow("kafka", signal)]
    assert counts.outcomes[Outcome.STORED] == 3
    ((outcome, reason),) = counts.reasons
    assert outcome is Outcome.QUARANTINED
    assert reason.startswith("not JSON: ")


def test_messages_of_ours_are_not_taken_for_json_nor_masked_again(tmp_path, store):
    body = with_secret("plain").SerializeToString()
    flows = ingested(tmp_path, store, (OTLP_SPANS, body, told(1)), (OTLP_SPANS, b"{}", told(1)))
    assert flows[SPANS].outcomes == {Outcome.STORED: 1, Outcome.QUARANTINED: 1}
    (span,) = store.ask("trace_spans", **_trace(store)).to_dicts()
    assert "plain" in span["attributes"]


def test_the_keys_to_mask_can_be_told(tmp_path, store):
    body = with_secret("hunter2").SerializeToString()
    ingested(tmp_path, store, (OTLP_SPANS, body, {}), masked=MaskedKeys(["other"]))
    (span,) = store.ask("trace_spans", **_trace(store)).to_dicts()
    assert "hunter2" in span["attributes"]


MESSAGES = st.tuples(
    st.sampled_from(TOPICS),
    st.binary(max_size=40)
    | st.builds(lambda text: b"{" + text, st.binary(max_size=20))
    | st.sampled_from([traces(2).SerializeToString(), as_json(traces(1, wrong_ids=1)), b"{}"]),
    st.fixed_dictionaries(
        {},
        optional={
            "format": st.sampled_from([*DECODERS, "semaphore", ""]),
            "received_at": st.sampled_from(["", "soon", "1790000000000000000"]),
        },
    ),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_whatever_others_write_is_stored_or_set_aside_and_counted(tmp_path_factory, messages):
    here = tmp_path_factory.mktemp("any")
    opened = open_store(here / "store")
    try:
        flows = ingested(here, opened, *messages)
        positions = opened.positions()
        aside = opened.ask("quarantine", limit=99)["records"].sum()
    finally:
        opened.close()
    assert sum(positions.values()) == len(messages)
    outcomes = [counts.outcomes for counts in flows.values()]
    for found in outcomes:
        received = found.get(Outcome.RECEIVED, 0)
        assert received == found.get(Outcome.ACCEPTED, 0)
        assert received == found.get(Outcome.STORED, 0) + found.get(Outcome.QUARANTINED, 0)
    assert sum(found.get(Outcome.QUARANTINED, 0) for found in outcomes) == aside
    assert sum(counts.received_bytes for counts in flows.values()) == sum(
        len(value) for _, value, _ in messages
    )


OURS = st.tuples(
    st.sampled_from(TOPICS),
    st.binary(max_size=40) | st.sampled_from([traces(2).SerializeToString(), b"{}"]),
    st.fixed_dictionaries(
        {"source": st.just("otlp_http"), "records": st.sampled_from(["0", "1", "7", "many"])},
        optional={"format": st.sampled_from([*DECODERS, "semaphore"])},
    ),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(OURS, max_size=6))
def test_whatever_carries_our_headers_is_read_over_and_never_stops_the_rest(
    tmp_path_factory, messages
):
    here = tmp_path_factory.mktemp("ours")
    opened = open_store(here / "store")
    try:
        good = (OTLP_SPANS, traces(2).SerializeToString(), told(2))
        flows = ingested(here, opened, *messages, good)
        positions = opened.positions()
    finally:
        opened.close()
    assert sum(positions.values()) == len(messages) + 1
    assert Outcome.RECEIVED not in flows[SPANS].outcomes, "their collector counted them"
