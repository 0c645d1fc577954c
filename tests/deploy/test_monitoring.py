"""Prometheus and Grafana: a real Prometheus scrapes Meshweir and answers the dashboard."""

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from api.demo.envoy import Address
from api.demo.network import free_address
from tests.api.conftest import app, http, ledger, mesh, mesh_directory  # noqa: F401 - fixtures
from tests.collectors.payloads import traces
from tests.deploy.compose import ROOT, SERVICES
from tests.e2e.process import FREE, Process

DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"
PROVISIONING = DEPLOY / "grafana" / "provisioning"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
TOKEN = "a-token"
PATIENCE = 60.0


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} (Debian package prometheus)")
    return found


def configuration(tmp_path: Path, **replaced: object) -> Path:
    """The configuration with its token in a file of ours, and one job changed."""
    told = yaml.safe_load(PROMETHEUS.read_text())
    (job,) = (job for job in told["scrape_configs"] if job["job_name"] == "meshweir")
    assert job["authorization"]["credentials_file"] == "/run/secrets/api_token"
    (tmp_path / "token").write_text(TOKEN)
    job["authorization"]["credentials_file"] = str(tmp_path / "token")
    for key, value in replaced.items():
        if value is None:
            del job[key]
        else:
            job[key] = value
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(told))
    return file


def queries() -> list[str]:
    return [
        target["expr"]
        for file in DASHBOARDS
        for panel in json.loads(file.read_text())["panels"]
        for target in panel["targets"]
    ]


def test_promtool_finds_no_fault_in_the_configuration(tmp_path):
    done = subprocess.run(
        [program("promtool"), "check", "config", configuration(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_scrapes_every_service_of_ours_that_compose_runs():
    told = yaml.safe_load(PROMETHEUS.read_text())
    (discovered,) = told["scrape_configs"][0]["dns_sd_configs"]
    assert set(discovered["names"]) == {
        name
        for name, service in SERVICES.items()
        if service.get("environment", {}).get("MESHWEIR_API_ADDRESS") == "0.0.0.0:8080"
    }
    assert discovered["port"] == 8080


def test_grafana_finds_its_data_source_and_its_dashboards():
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "meshweir.yaml").read_text())[
        "providers"
    ]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert DASHBOARDS
    for file in DASHBOARDS:
        panels = json.loads(file.read_text())["panels"]
        assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_metric_of_the_dashboards_is_exposed(http):  # noqa: F811 - a fixture
    exposed = set(re.findall(r"^# TYPE (\S+)", http.get("/metrics").text, re.MULTILINE))
    asked = set(re.findall(r"\b(?:meshweir|process)_\w+", " ".join(queries())))
    assert asked
    assert asked <= exposed


@contextlib.contextmanager
def prometheus(configuration: Path, directory: Path):
    """A real Prometheus; yields what asks it."""
    address = free_address(Address(0))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )

    def ask(query: str) -> list[dict]:
        url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success"
        return told["data"]["result"]

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.e2e
def test_a_real_prometheus_scrapes_meshweir_and_answers_the_dashboards(tmp_path):
    program("prometheus")
    (tmp_path / "token").write_text(TOKEN)
    up = Process(
        *("up", "--data", tmp_path / "data", "--api-token-file", tmp_path / "token"),
        *("--api-address", FREE, "--otlp-http-address", FREE, "--otlp-grpc-address", FREE),
        listeners=3,
    )
    target = {"targets": [up.api.removeprefix("http://")], "labels": {"role": "up"}}
    file = configuration(
        tmp_path,
        dns_sd_configs=None,
        relabel_configs=None,
        static_configs=[target],
        scrape_interval="1s",
    )
    try:
        assert up.post(traces(25).SerializeToString()) == 200
        with prometheus(file, tmp_path) as ask:
            stored = 'meshweir_ingest_records_total{job="meshweir",outcome="stored"} == 25'
            assert eventually(lambda: ask(stored)), (tmp_path / "log").read_text()
            assert [one["value"][1] for one in ask('up{job="meshweir"}')] == ["1"]
            for query in queries():
                ask(query.replace("$__rate_interval", "1m"))
            assert ask('min by (role) (meshweir_ready{job="meshweir"})')[0]["value"][1] == "1"
    finally:
        up.stop()


def eventually(condition):
    """What a condition gives, once it gives something; a server may not be up yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := condition():
                return found
        time.sleep(0.3)
    return None
