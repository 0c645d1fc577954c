"""What was set aside: over HTTP, and with the commands ``meshweir quarantine`` and ``replay``."""

import asyncio
import random
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.parts import open_parts
from api.schemas import Quarantine
from api.settings import load
from pipeline.decode import DECODERS
from pipeline.jobs import decoding
from pipeline.jobs.ingest import IngestJob
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.decoded import Decoded, Refusal
from pipeline.store import open_store
from tests.api.conftest import context_for
from tests.api.test_cli import here, nothing_set  # noqa: F401 - fixtures
from tests.api.test_middleware import served
from tests.pipeline.jobs.mesh_messages import held, messages

TORN = "ends in the middle of a field"
WHERE = ("raw_telemetry/0/0", "raw_telemetry/0/1")


def filled(directory: Path) -> Path:
    """A data directory with a small mesh and eight messages set aside."""

    async def fill():
        settings = load(flags={"data": str(directory)}, environment={}, file=None)
        async with open_parts(settings) as parts:
            job = IngestJob(parts.bus, parts.store, parts.ledger)
            for number, (topic, value, headers) in enumerate(messages(random.Random(1))):
                await parts.bus.publish(topic, value, headers)
                if number % 6 == 5:
                    await job.run()
            await job.run()
            await MinutesJob(parts.store).settle()

    asyncio.run(fill())
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("aside") / "data")


@pytest.fixture
def asked(data, ledger):
    """A client of an application on that directory."""
    store = open_store(data)
    with TestClient(create_app(context_for(store, ledger))) as client:
        yield client
    store.close()


def test_the_list_is_as_documented_and_youngest_first(asked):
    body = asked.get("/v1/quarantine").json()
    told = Quarantine.model_validate(body, strict=False)
    assert len(told.items) == 8
    times = [item["received_at"] for item in body["items"]]
    assert times == sorted(times, reverse=True)
    assert {item["payload"] for item in body["items"]} == {None}


def test_pages_put_together_are_the_list(asked):
    whole = asked.get("/v1/quarantine").json()["items"]
    pages, cursor = [], None
    while cursor is not None or not pages:
        parameters = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = asked.get("/v1/quarantine", params=parameters).json()
        pages.append(page["items"])
        cursor = page["next"]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [item for page in pages for item in page] == whole


def test_entries_are_chosen_by_reason_and_by_id(asked):
    torn = asked.get("/v1/quarantine", params={"reason": TORN}).json()["items"]
    assert {item["reason"] for item in torn} == {TORN}
    (one,) = asked.get(
        "/v1/quarantine", params={"id": WHERE[0], "payload": "true"}
    ).json()["items"]  # fmt: skip
    assert (one["id"], one["payload"]) == (WHERE[0], "Li4=")
    assert asked.get("/v1/quarantine", params={"id": "nope"}).json()["items"] == []


def test_a_cursor_of_another_choice_is_refused(asked):
    cursor = asked.get("/v1/quarantine", params={"limit": 1}).json()["next"]
    answer = asked.get("/v1/quarantine", params={"cursor": cursor, "reason": TORN})
    assert answer.status_code == 400


def test_the_list_comes_as_an_arrow_stream_too(asked):
    accept = {"accept": "application/vnd.apache.arrow.stream"}
    answer = asked.get("/v1/quarantine", headers=accept)
    rows = pa.ipc.open_stream(answer.content).read_all()
    assert rows.num_rows == 8
    assert rows.column_names[0] == "id"


def test_json_is_byte_for_byte_the_body_of_the_api(here, data, ledger):  # noqa: F811
    told = here("quarantine", "list", "--data", data, "--format", "json", "--limit", "3")
    assert told.returncode == 0, told.stderr
    store = open_store(data)
    try:
        with served(create_app(context_for(store, ledger))) as url:
            again = here("quarantine", "list", "--url", url, "--format", "json", "--limit", "3")
            shown = here("quarantine", "show", WHERE[0], "--url", url)
    finally:
        store.close()
    assert again.stdout == told.stdout
    assert shown.stdout == here("quarantine", "show", WHERE[0], "--data", data).stdout


def test_the_list_is_plain_columns(here, data):  # noqa: F811
    lines = here("quarantine", "list", "--data", data, "--limit", "2").stdout.decode().splitlines()
    assert lines[0].split() == ["ID", "RECEIVED", "FORMAT", "SOURCE", "RECORDS", "BYTE", "REASON"]
    assert len(lines) == 4
    assert "--limit" in lines[3]


def test_an_entry_is_shown_with_the_bytes_at_fault(here, data):  # noqa: F811
    listed = orjson.loads(
        here("quarantine", "list", "--data", data, "--reason", TORN, "--format", "json").stdout
    )
    told = here("quarantine", "show", listed["items"][0]["id"], "--data", data).stdout.decode()
    assert f"reason       {TORN}" in told
    assert "00000000 [0a] ff" in told
    assert here("quarantine", "show", "nope/0/1", "--data", data).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["quarantine"], b"ACTION"),
        (["quarantine", "retry"], b"--all"),
        (["quarantine", "retry", "--all", "t/0/1"], b"one of them"),
        (["quarantine", "list", "--limit", "0"], b"1..10000"),
        (["quarantine", "list", "--data", "x", "--url", "http://localhost"], b"not both"),
        (["replay"], b"--from"),
        (["replay", "--from", "yesterday"], b"RFC 3339"),
        (["replay", "--from", "-1h", "--to", "-2h"], b"before --to"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(here, arguments, hint):  # noqa: F811
    told = here(*arguments)
    assert (told.returncode, told.stdout) == (2, b"")
    assert hint in told.stderr


def forgetful(values):
    """A decoder of spans that cannot read every other message."""
    decode = DECODERS["otlp_traces"]
    answer = decode(values[::2])
    refused = [
        Refusal(2 * one.message, one.reason, one.offset, one.records, one.whole)
        for one in answer.refused
    ]
    odd = [Refusal(index, "odd", whole=True) for index in range(1, len(values), 2)]
    return Decoded(answer.batches, (*refused, *odd))


def contents(directory):
    store = open_store(directory)
    try:
        return held(store, by_slice=False)
    finally:
        store.close()


@pytest.mark.parametrize(
    "command", [("replay", "--from", "-1h"), ("quarantine", "retry", "--all")]
)  # fmt: skip
def test_a_better_program_takes_what_the_one_before_set_aside(
    here, data, tmp_path, monkeypatch, command  # noqa: F811
):  # fmt: skip
    with monkeypatch.context() as before:
        before.setattr(decoding, "DECODERS", {**DECODERS, "otlp_traces": forgetful})
        worse = filled(tmp_path / "data")
    lost = contents(worse)["quarantine"].filter(reason="odd").height
    assert lost > 3
    told = here(*command, "--data", worse, "--json")
    assert told.returncode == 0, told.stderr
    answer = orjson.loads(told.stdout)
    replayed = answer if command[0] == "replay" else answer["replay"]
    assert replayed["quarantined"]["before"] > replayed["quarantined"]["after"]
    assert (replayed["skipped"], replayed["graph"]) == ([], "computed")
    if command[0] == "quarantine":
        assert len(answer["accepted"]) == lost
        assert len(answer["staying"]) == 8
    wanted = contents(data)
    for name, rows in contents(worse).items():
        assert rows.equals(wanted[name]), name


def test_a_directory_in_use_or_not_there_ends_with_1(here, data, tmp_path):  # noqa: F811
    store = open_store(data)
    try:
        told = here("replay", "--from", "-1h", "--data", data)
    finally:
        store.close()
    assert told.returncode == 1
    assert b"stop that process" in told.stderr
    told = here("replay", "--from", "-1h", "--data", tmp_path / "none")
    assert told.returncode == 1
    assert b"no data directory" in told.stderr
