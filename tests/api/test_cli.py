"""The command line: what it prints where, and how it ends."""

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from api import cli
from api.app import create_app
from pipeline.store import open_store
from tests.api.conftest import context_for
from tests.api.test_middleware import served

ROOT = Path(__file__).parents[2]
WINDOW = {"start": "2026-11-23T10:00:00Z", "end": "2026-11-23T10:02:00Z"}
"""All there is in the mesh."""


def meshweir(*arguments, **environment):
    """Run the command in a process of its own, without any of our settings around it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MESHWEIR_")}
    return subprocess.run(
        [sys.executable, "-m", "api", *map(str, arguments)],
        env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MESHWEIR_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def here(capfdbinary, monkeypatch):
    """The command in this process, which saves starting one."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        told = capfdbinary.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, told.out, told.err)

    yield run
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="module")
def data(mesh_directory, mesh, tmp_path_factory):
    """A copy of the mesh's data directory that no process holds."""
    copy = tmp_path_factory.mktemp("copy") / "data"
    copy.mkdir()
    shutil.copy(mesh_directory / "store.duckdb", copy)
    return copy


@pytest.fixture(scope="module")
def url(mesh, ledger):
    with served(create_app(context_for(mesh, ledger))) as address:
        yield address


def test_the_version_is_one_line_on_stdout():
    ended = meshweir("--version")
    assert ended.returncode == 0
    assert re.fullmatch(rb"meshweir \d+\.\d+\.\d+\n", ended.stdout)


def test_help_lists_the_commands_that_there_are(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    names = ("up", "collect", "process", "serve", "import", "graph", "demo")
    assert all(f"\n    {name} " in text for name in names)


def test_help_shows_a_commands_own_defaults_and_only_what_concerns_it(capsys):
    for command, address, flags, others in (
        ("up", "127.0.0.1:8080", {"--bus-max-bytes", "--kafka", "--store-threads"}, {"--url"}),
        ("collect", "127.0.0.1:8081", {"--otlp-grpc-address", "--kafka"}, {"--data", "--bus-"}),
        ("process", "127.0.0.1:8082", {"--ingest-batch-bytes", "--store-threads"}, {"--otlp-"}),
        ("serve", "127.0.0.1:8080", {"--api-cache-bytes", "--kafka"}, {"--otlp-", "--ingest-"}),
    ):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        text = capsys.readouterr().out
        assert f"MESHWEIR_API_ADDRESS; {address}]" in " ".join(text.split()), command
        assert all(f"  {flag} " in text for flag in flags), command
        assert not any(flag in text for flag in others), command


def test_the_flags_that_scripts_rely_on_are_there(capsys):
    for command, flags in {
        "up": ("--data", "--api-address", "--otlp-grpc-address", "--otlp-http-address", "--config"),
        "import": ("--data", "--format", "--json"),
        "graph": ("--data", "--url", "--start", "--end", "--group-by", "--format"),
    }.items():
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        text = capsys.readouterr().out
        assert all(f"  {flag}" in text for flag in flags), command


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "COMMAND"),
        (["grpah"], "'graph'"),
        (["graph", "--strat", "-1h"], "did you mean --start?"),
        (["graph", "--format", "svg"], "'mermaid'"),
        (["graph", "--group-by", "pod"], "'namespace'"),
        (["graph", "--start", "yesterday"], "RFC 3339"),
        (["graph", "--start", "now", "--end", "-1h"], "before end"),
        (["graph", "--depth", "0"], "1..20"),
        (["graph", "--data", "x", "--url", "http://localhost"], "not both"),
        (["import"], "FILE"),
        (["import", "x", "--format", "nonsense"], "nonsense"),
        (["up", "--api-address", "0.0.0.0:8080"], "MESHWEIR_API_TOKEN"),
        (["up", "--api-adress", "x"], "did you mean --api-address?"),
        (["up", "--store-threads", "many"], "--store-threads"),
        (["up", "--config", "/nowhere.yaml"], "--config"),
        (["collect"], "--kafka"),
        (["process"], "without Kafka run everything in one process: meshweir up"),
        (["process", "--data", "x"], "--kafka"),
        (["collect", "--kafka", "x:1", "--data", "y"], "unknown argument --data"),
        (["serve", "--otlp-grpc-address", "x:1"], "unknown argument --otlp-grpc-address"),
        (["import", "x", "--kafka", "x:1"], "a store that Kafka does not feed"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint_on_stderr(capsys, arguments, hint):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert hint in told.err
    assert told.out == ""


def test_a_data_directory_that_is_not_there_ends_with_1(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["graph", "--data", str(tmp_path / "none")])
    assert ended.value.code == 1
    assert "--data" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_json_is_byte_for_byte_the_body_of_the_api(here, data, http):
    ended = here("graph", "--data", data, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == http.get("/v1/graph", params=WINDOW).content


def test_a_running_meshweir_gives_the_same_bytes(here, data, url):
    ended = here("graph", "--url", url, "--format", "json", "--group-by", "version")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (
        here("graph", "--data", data, "--format", "json", "--group-by", "version").stdout
    )


def test_the_environment_names_the_data_directory_too(here, data):
    ended = here("graph", "--format", "json", MESHWEIR_DATA=str(data))
    assert orjson.loads(ended.stdout)["start"] == WINDOW["start"]


def test_a_relative_time_is_no_flag(here, data):
    ended = here("graph", "--data", data, "--start", "-1000000h", "--end", "-1h")
    assert ended.returncode in {0, 2}, ended.stderr
    assert b"expected one argument" not in ended.stderr


def test_the_table_is_plain_columns_where_there_is_no_terminal(here, data):
    ended = here("graph", "--data", data)
    lines = ended.stdout.decode().splitlines()
    assert lines[0].split()[:3] == ["CLIENT", "SERVER", "PROTOCOL"]
    (row,) = [line.split() for line in lines if line.startswith("shop/frontend ")]
    assert row[:4] == ["shop/frontend", "shop/cart", "http", "90"]
    assert row[-1] == "client"
    assert len(lines) == 5
    assert "\x1b" not in ended.stdout.decode()


def test_mermaid_names_every_node_and_edge(here, data):
    text = here("graph", "--data", data, "--format", "mermaid").stdout.decode()
    assert text.startswith("flowchart LR\n")
    assert '["shop/cart"]' in text
    assert text.count("-->") == 4


def test_dot_names_every_node_and_edge(here, data):
    text = here("graph", "--data", data, "--format", "dot").stdout.decode()
    assert text.startswith("digraph meshweir {\n")
    assert '"shop/frontend" -> "shop/cart" [label="0.75 req/s, 10 % errors"];' in text
    assert text.endswith("}\n")


def test_an_unknown_focus_ends_with_1_and_what_there_is(here, data):
    ended = here("graph", "--data", data, "--focus", "shop/ghost")
    assert ended.returncode == 1
    assert b"shop/cart" in ended.stderr


def test_a_directory_in_use_says_who_to_ask(here, tmp_path):
    store = open_store(tmp_path)
    (tmp_path / "running.json").write_bytes(b'{"api":"http://127.0.0.1:9","pid":1}')
    try:
        ended = here("graph", "--data", tmp_path)
    finally:
        store.close()
    assert ended.returncode == 1
    assert b"in use" in ended.stderr
    assert b"meshweir graph --url http://127.0.0.1:9" in ended.stderr


def test_a_meshweir_that_does_not_answer_ends_with_1(here):
    ended = here("graph", "--url", "http://127.0.0.1:9")
    assert ended.returncode == 1
    assert b"does not answer" in ended.stderr


def test_a_guarded_meshweir_wants_its_token(here, mesh, ledger):
    with served(create_app(context_for(mesh, ledger), token="t0ken")) as guarded:
        assert b"401" in here("graph", "--url", guarded).stderr
        ended = here("graph", "--url", guarded, MESHWEIR_API_TOKEN="t0ken")
    assert ended.returncode == 0, ended.stderr
