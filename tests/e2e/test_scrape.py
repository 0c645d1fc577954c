"""A real Envoy and a real Prometheus are scraped, and Prometheus scrapes the same beside it.

Both are given one and the same ``prometheus.yml``; what they brought home is compared.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from api.demo.processes import find_program
from tests.e2e.process import ask, wait
from tests.e2e.up import Up

ENVOY, PROMETHEUS = find_program("envoy"), find_program("prometheus")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (extra `demo`)"),
    pytest.mark.skipif(
        PROMETHEUS is None, reason="prometheus is not installed (Debian's package of that name)"
    ),
]

JOBS = ("envoy", "prometheus", "relabelled")

REPORT = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
OWN_REPORT = REPORT | {"scrape_samples_post_metric_relabeling", "scrape_series_added"}
"""Series that Prometheus adds itself."""

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
rule_files: []
scrape_configs:
- job_name: envoy
  metrics_path: /stats/prometheus
  file_sd_configs: [{{files: [envoy.json]}}]
- job_name: prometheus
  static_configs: [{{targets: ["127.0.0.1:{prometheus}"], labels: {{env: test}}}}]
- job_name: relabelled
  static_configs: [{{targets: ["127.0.0.1:{prometheus}"], labels: {{env: test}}}}]
  metric_relabel_configs:
  - {{source_labels: [__name__], regex: "go_.*|.*_duration_seconds.*|up", action: drop}}
  - source_labels: [__name__, env]
    regex: prometheus_(tsdb_.*);test
    target_label: __name__
    replacement: renamed_$1
  - {{source_labels: [handler, code], regex: "/api/v1/([a-z]+);2..", target_label: route}}
  - {{source_labels: [job], action: Uppercase, target_label: copied}}
  - {{source_labels: [instance], action: hashmod, modulus: 1000003, target_label: share}}
  - {{regex: (interval|reason), action: labelmap, replacement: was_$1}}
  - {{regex: (role|type), action: labeldrop}}
"""

ROWS = """
SELECT p.*, r.service_name AS job FROM metric_points p JOIN resources r USING (resource_id)
"""


@dataclass
class Both:
    """What was scraped: rows of Meshweir, and answers of Prometheus at two moments."""

    rows: list[dict]
    scraped: dict[str, int]
    series: dict[str, list[dict[str, str]]]
    after_death: dict[str, int]
    told: dict

    def of(self, job: str, *, stale: bool = False) -> list[dict]:
        """The rows of a job."""
        return [row for row in self.rows if row["job"] == job and bool(row["flags"] & 1) == stale]

    def names(self, job: str) -> Counter[str]:
        """How many series of each name Prometheus has of a job, those it adds itself left out."""
        names = Counter(one["__name__"] for one in self.series[job])
        return Counter({name: count for name, count in names.items() if name not in OWN_REPORT})

    def ups(self, job: str) -> set[float]:
        """Every value of ``up``."""
        return {row["value"] for row in self.of(job) if row["name"] == "up"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_config(admin: int, front: int) -> dict:
    """An Envoy that answers everything itself, and calls somebody who is not there."""
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager"
        ".v3.HttpConnectionManager",
        "stat_prefix": "front",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/gone"}, "route": {"cluster": "nobody"}},
                        {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
    nobody = {
        "name": "nobody",
        "load_assignment": {
            "cluster_name": "nobody",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(1)}}]}],
        },
    }
    listener = {"name": "front", "address": address(front), "filter_chains": [chain]}
    return {
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener], "clusters": [nobody]},
    }


class Prometheus:
    """A running Prometheus, asked over its API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def value(self, query: str) -> dict[str, float]:
        """The answer to an instant query, by job."""
        result = self._ask("query", query=query)["result"]
        return {one["metric"].get("job", ""): float(one["value"][1]) for one in result}

    def series(self, job: str) -> list[dict[str, str]]:
        """The labels of the series that a job has just now."""
        return [one["metric"] for one in self._ask("query", query=f'{{job="{job}"}}')["result"]]

    def _ask(self, what: str, **parameters: str) -> dict:
        url = f"{self._url}/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]


def running(*command: object) -> subprocess.Popen:
    return subprocess.Popen(
        list(map(str, command)), env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )


@dataclass
class Scraped:
    """An Envoy, and a Prometheus that scrapes it and itself."""

    envoy: subprocess.Popen
    front: int
    config: Path
    prometheus: Prometheus


@contextlib.contextmanager
def scraped(folder: Path) -> Iterator[Scraped]:
    """Run both on free ports, with a configuration in the folder that names both."""
    admin, front, port = free_port(), free_port(), free_port()
    (folder / "envoy-bootstrap.json").write_text(json.dumps(envoy_config(admin, front)))
    (folder / "envoy.json").write_text(json.dumps([{"targets": [f"127.0.0.1:{admin}"]}]))
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(prometheus=port))
    envoy = running(
        *(ENVOY, "-c", folder / "envoy-bootstrap.json", "--use-dynamic-base-id"),
        *("--concurrency", "1", "--log-level", "off"),
    )
    prometheus = running(
        *(PROMETHEUS, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"),
        f"--storage.tsdb.path={folder / 'tsdb'}",
    )
    try:
        yield Scraped(envoy, front, config, Prometheus(port))
    finally:
        for process in (envoy, prometheus):
            process.kill()
            process.wait(30)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Let both scrape both, have some requests served, then kill Envoy and wait for both to see."""
    folder = tmp_path_factory.mktemp("scrape")
    with scraped(folder) as here:
        up = Up(folder / "data", "--scrape-config-file", here.config)
        try:
            settled, series, after, told = compared(up, here)
            up.stop()
        finally:
            if up.process.poll() is None:
                up.kill()
    return Both(rows(folder / "data"), settled, series, after, told)


def compared(up: Up, here: Scraped) -> tuple[dict[str, int], dict[str, list], dict, dict]:
    """What Prometheus has of each job before and after Envoy's death, and what was ingested."""
    asked = here.prometheus
    assert wait(lambda: healthy(asked) == dict.fromkeys(JOBS, 1)), "nobody is up"
    for path in ("/", "/gone"):
        ask(f"http://127.0.0.1:{here.front}{path}")
    assert wait(lambda: served(asked)), "no request is seen"
    settled = wait(lambda: is_settled(asked))
    assert settled, "the number of series never settles"
    before = stored(up)
    assert wait(lambda: stored(up) > before + 2 * sum(settled.values())), flow(up)
    series = {job: asked.series(job) for job in settled}
    here.envoy.send_signal(signal.SIGKILL)
    here.envoy.wait(30)
    assert wait(lambda: healthy(asked).get("envoy") == 0)
    after = {job: len(asked.series(job)) for job in settled}
    before = stored(up)
    assert wait(lambda: stored(up) > before + 2 * settled["envoy"]), flow(up)
    return settled, series, after, ask(f"{up.api}/v1/ingest").json


def healthy(asked: Prometheus) -> dict[str, float]:
    try:
        return asked.value("up")
    except OSError:
        return {}


def served(asked: Prometheus) -> bool:
    """Whether requests were served for longer than the number of series is looked at."""
    requests = 'envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="front"}'
    return bool(asked.value(f"min_over_time({requests}[8s]) >= 2"))


def is_settled(asked: Prometheus) -> dict[str, int] | None:
    """How many samples each job has, once that was the same for six scrapes."""
    least = asked.value("min_over_time(scrape_samples_scraped[6s])")
    most = asked.value("max_over_time(scrape_samples_scraped[6s])")
    counts = asked.value("count_over_time(scrape_samples_scraped[6s])")
    if len(least) < len(JOBS) or least != most or min(counts.values()) < 6:
        return None
    return {job: int(samples) for job, samples in least.items()}


def flow(up: Up) -> dict:
    items = ask(f"{up.api}/v1/ingest").json["items"]
    return next((one for one in items if one["source"] == "scrape"), {})


def stored(up: Up) -> int:
    return flow(up).get("stored", 0)


def rows(data: Path) -> list[dict]:
    (file,) = data.glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(ROWS).to_arrow_table().to_pylist()


def samples_of(row: dict) -> Counter[str]:
    """The samples that a row was made of, by the names they had."""
    name = row["name"]
    if row["type"] == "histogram":
        buckets = {f"{name}_bucket": len(row["bucket_counts"])}
        return Counter(buckets | {f"{name}_sum": 1, f"{name}_count": 1})
    if row["type"] == "summary":
        return Counter({name: len(row["quantiles"]), f"{name}_sum": 1, f"{name}_count": 1})
    return Counter({name: 1})


def last_scrape(mine: list[dict], samples: int) -> list[dict]:
    """The rows of the last scrape that had so many samples, without what tells of the scrape."""
    at = max(
        row["time"]
        for row in mine
        if row["name"] == "scrape_samples_scraped" and row["value"] == samples
    )
    return [row for row in mine if row["time"] == at and row["name"] not in OWN_REPORT]


@pytest.mark.parametrize("job", ["envoy", "prometheus"])
def test_as_many_samples_are_scraped_as_prometheus_scrapes(both: Both, job: str) -> None:
    found = sum(map(samples_of, last_scrape(both.of(job), both.scraped[job])), Counter())
    theirs = both.names(job)
    assert sum(theirs.values()) == both.scraped[job] > 100
    assert found == theirs


def test_rules_for_metrics_leave_what_they_leave_in_prometheus(both: Both) -> None:
    mine = last_scrape(both.of("relabelled"), both.scraped["relabelled"])
    left = both.names("relabelled")
    assert sum(map(samples_of, mine), Counter()) == left
    assert 50 < sum(left.values()) < both.scraped["relabelled"] - 50
    assert any(name.startswith("renamed_tsdb_") for name in left)
    of_target = {"job": "relabelled", "env": "test"}
    theirs = {
        frozenset((one.items() - of_target.items()) - {("instance", one["instance"])})
        for one in both.series["relabelled"]
        if one["__name__"] not in OWN_REPORT
    }
    ours = {
        frozenset({"__name__": row["name"], **json.loads(row["attributes"])}.items())
        for row in mine
        if row["type"] in {"sum", "gauge"}
    }
    assert len(ours) > 50
    assert ours <= theirs
    told = {
        row["value"]
        for row in both.of("relabelled")
        if row["name"] == "scrape_samples_post_metric_relabeling"
    }
    assert sum(left.values()) in told


def test_a_new_name_keeps_its_type(both: Both) -> None:
    types = {row["name"]: row["type"] for row in both.of("prometheus") if "_tsdb_" in row["name"]}
    renamed = {row["name"]: row["type"] for row in both.of("relabelled")}
    kept = {
        name: kind
        for before, kind in types.items()
        if (name := before.replace("prometheus_tsdb_", "renamed_tsdb_")) in renamed
    }
    assert len(kept) > 20
    assert {name: renamed[name] for name in kept} == kept
    assert {"sum", "gauge", "histogram"} <= set(kept.values())


def test_counters_and_histograms_are_what_they_are(both: Both) -> None:
    mine = last_scrape(both.of("envoy"), both.scraped["envoy"])
    by_name = {
        row["name"]: row
        for row in mine
        if row["name"].startswith(("envoy_http_downstream_rq", "envoy_cluster_upstream_rq_total"))
    }
    total = by_name["envoy_http_downstream_rq_total"]
    assert (total["type"], total["is_monotonic"]) == ("sum", True)
    assert by_name["envoy_http_downstream_rq_time"]["type"] == "histogram"
    assert (
        sum(by_name["envoy_http_downstream_rq_time"]["bucket_counts"])
        == (by_name["envoy_http_downstream_rq_time"]["count"])
    )


def test_when_envoy_dies_both_say_so_and_end_its_series(both: Both) -> None:
    assert both.ups("envoy") == {0, 1}
    assert both.ups("prometheus") == both.ups("relabelled") == {1}
    assert both.after_death["envoy"] == len(OWN_REPORT)
    ended = {(row["name"], row["attributes"]) for row in both.of("envoy", stale=True)}
    last = last_scrape(both.of("envoy"), both.scraped["envoy"])
    assert ended == {(row["name"], row["attributes"]) for row in last}
    assert both.of("prometheus", stale=True) == []


def test_nothing_of_it_is_lost_but_what_rules_made_equal(both: Both) -> None:
    (told,) = [one for one in both.told["items"] if one["source"] == "scrape"]
    assert told["received"] == told["accepted"] + told["dropped"] > 1000
    assert list(told["reasons"]["dropped"]) == ["a series twice after metric_relabel_configs"]
    assert (told["rejected"], told["quarantined"]) == (0, 0)
