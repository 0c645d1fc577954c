"""``meshweir import``: files in, the graph known, nothing lost without a word."""

import orjson
import pytest

from tests.api.test_cli import meshweir

START_US = 1_795_428_000_000_000


def jaeger_span(number, *, of, trace=1, parent=None, kind="server"):
    references = [
        {"refType": "CHILD_OF", "traceID": f"{trace:032x}", "spanID": f"{parent or 0:016x}"}
    ]
    return {
        "traceID": f"{trace:032x}",
        "spanID": f"{number:016x}",
        "operationName": "GET /things",
        "references": references if parent else [],
        "startTime": START_US + number,
        "duration": 1000,
        "tags": [{"key": "span.kind", "type": "string", "value": kind}],
        "logs": [],
        "processID": of,
    }


def jaeger_document():
    """Two services, one call."""
    return {
        "data": [
            {
                "traceID": f"{1:032x}",
                "spans": [
                    jaeger_span(1, of="p1"),
                    jaeger_span(2, of="p1", parent=1, kind="client"),
                    jaeger_span(3, of="p2", parent=2),
                ],
                "processes": {
                    "p1": {"serviceName": "frontend", "tags": []},
                    "p2": {"serviceName": "cart", "tags": []},
                },
            }
        ]
    }


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "recording.json"
    path.write_bytes(orjson.dumps(jaeger_document()))
    return path


def edges(data):
    body = orjson.loads(meshweir("graph", "--data", data, "--format", "json").stdout)
    return {(edge["client"], edge["server"]): edge["requests"] for edge in body["edges"]}


def test_a_recording_is_on_the_graph_once_the_command_ends(recording, tmp_path):
    ended = meshweir("import", recording, "--data", tmp_path / "data", "--json")
    assert ended.returncode == 0, ended.stderr
    assert orjson.loads(ended.stdout) == {
        "files": [
            {
                "path": str(recording),
                "format": "jaeger_json",
                "accepted": 3,
                "quarantined": 0,
            }
        ]
    }
    assert edges(tmp_path / "data") == {("clients", "frontend"): 1, ("frontend", "cart"): 1}


def test_without_json_it_is_a_line_for_people(recording, tmp_path):
    ended = meshweir("import", recording, "--data", tmp_path / "data")
    assert ended.stdout.decode() == f"{recording}: 3 records (jaeger_json)\n"
    assert b"computing the graph" in ended.stderr


def test_lines_that_cannot_be_read_are_set_aside_counted_and_no_failure(recording, tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(recording.read_bytes() + b"\n{broken\n")
    ended = meshweir("import", lines, "--data", tmp_path / "data", "--json")
    (file,) = orjson.loads(ended.stdout)["files"]
    assert ended.returncode == 0, ended.stderr
    assert (file["accepted"], file["quarantined"]) == (3, 1)


def test_a_file_that_is_not_there_ends_with_1_and_the_others_go_in(recording, tmp_path):
    missing = tmp_path / "missing.json"
    ended = meshweir("import", missing, recording, "--data", tmp_path / "data", "--json")
    assert ended.returncode == 1
    first, second = orjson.loads(ended.stdout)["files"]
    assert first["path"] == str(missing)
    assert first["accepted"] == 0
    assert "No such file" in first["error"]
    assert second["accepted"] == 3
    assert ("frontend", "cart") in edges(tmp_path / "data")


def test_importing_twice_counts_a_span_received_twice_once(recording, tmp_path):
    for _ in range(2):
        assert meshweir("import", recording, "--data", tmp_path / "data").returncode == 0
    assert edges(tmp_path / "data")["frontend", "cart"] == 1


def test_lines_of_both_sides_of_a_call_are_one_edge(tmp_path):
    line = (
        '[2026-03-02T10:15:30.250Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 5 4 4 "-" "c" "r1"'
        ' "cart:80" "{}" {} {} {} {} {} default\n'
    )
    path = tmp_path / "proxies.log"
    path.write_text(
        line.format("10.0.0.2:80", "outbound|80||cart.shop.svc.cluster.local", "10.0.0.1:999",
                    "10.96.0.1:80", "10.0.0.1:998", "-")
        + "no line of an access log\n"
        + line.format("127.0.0.1:80", "inbound|80||", "127.0.0.6:1", "10.0.0.2:80", "10.0.0.1:999",
                      "outbound_.80_._.cart.shop.svc.cluster.local")
    )  # fmt: skip
    told = meshweir("import", "--data", tmp_path / "data", "--json", path)
    (report,) = orjson.loads(told.stdout)["files"]
    assert (report["format"], report["accepted"], report["quarantined"]) == ("envoy_text", 2, 1)
    assert edges(tmp_path / "data") == {("unknown:10.0.0.1", "shop/cart"): 1}


SECRET = "Zq3x9SECRETv7Lm"


def test_secrets_in_lines_are_nowhere_in_the_data_directory(tmp_path):
    lines = {
        "text.log": f'10.0.0.1 - - [25/Nov/2020:21:26:18 +0000] "GET /a?token={SECRET} HTTP/1.1"'
        f' 200 1 "https://u:{SECRET}@h/?api_key={SECRET}" "Bearer {SECRET}"\n'
        f"broken line with password={SECRET}\n",
        "json.log": '{"start_time":"2026-03-02T10:15:33Z","response_code":200,"path":"/a?key='
        f'{SECRET}","authorization":"{SECRET}","cookie":["session={SECRET}"],'
        f'"user_agent":"x token={SECRET}"}}\n',
    }
    for name, text in lines.items():
        path = tmp_path / name
        path.write_text(text)
        meshweir("import", "--data", tmp_path / "data", path)
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert any(b"25/Nov/2020" in path.read_bytes() for path in kept)  # the bus keeps it readable
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_consumers_of_a_gateway_are_on_the_graph_and_no_person_is_in_the_data(tmp_path):
    log = tmp_path / "kong.jsonl"
    records = [
        {
            "started_at": START_US // 1000, "client_ip": "203.0.113.77",
            "latencies": {"request": 7},
            "request": {"id": f"{number:032x}", "method": "GET", "uri": f"/users/{number}"},
            "response": {"status": 200}, "service": {"name": "orders"}, "tries": [{"port": 80}],
            "consumer": {"username": who},
        }
        for number, who in enumerate(("zoe.quxford@example.com", "mobile", "mobile"))
    ]  # fmt: skip
    log.write_bytes(b"\n".join(map(orjson.dumps, records)))
    ended = meshweir("import", log, "--data", tmp_path / "data", "--json")
    assert ended.returncode == 0, ended.stderr
    told = meshweir(
        "graph", "--data", tmp_path / "data", "--format", "json", "--group-by", "consumer"
    ).stdout
    into = {edge["client"]: edge["requests"] for edge in orjson.loads(told)["edges"]}
    (person,) = (client for client in into if client.startswith("consumer:user:person-"))
    assert into == {person: 1, "consumer:user:mobile": 2, "kong": 3}
    for file in (tmp_path / "data").rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert b"quxford" not in content, file
        assert b"203.0.113.77" not in content, file
