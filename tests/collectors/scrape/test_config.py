"""Prometheus' configuration, as far as it is understood, and how the rest is refused."""

from pathlib import Path

import pytest
import yaml

from collectors.scrape.config import ELSEWHERE, NOT_HERE, NoMatter, ScrapeJob, read_config
from collectors.scrape.discovery import groups_of
from collectors.scrape.target import address_labels, target_of
from pipeline.errors import InvalidInput

PAGE = Path(__file__).parents[3] / "docs" / "scraping.md"

WHOLE = """
global:
  scrape_interval: 30s
  evaluation_interval: 1m
  external_labels: {cluster: one}
rule_files: [rules/*.yml]
alerting:
  alertmanagers: [{static_configs: [{targets: [localhost:9093]}]}]
remote_write: [{url: http://example.com}]
scrape_configs:
- job_name: kong
  metrics_path: /metrics
  scrape_interval: 5s
  scrape_timeout: 4s
  static_configs:
  - targets: [kong-1:8100, kong-2:8100]
    labels: {service_version: "3.9"}
- job_name: files
  file_sd_configs: [{files: [targets/*.yml], refresh_interval: 1m}]
  basic_auth: {username: scraper, password_file: secrets/password}
  tls_config: {ca_file: /etc/ca.pem, server_name: kong.internal}
  body_size_limit: 10MB
- job_name: pods
  kubernetes_sd_configs:
  - role: pod
    namespaces: {names: [shop]}
    selectors: [{role: pod, label: app=cart}]
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_container_port_name]
    action: keep
    regex: linkerd-admin
"""


def written(directory: Path, text: str) -> Path:
    file = directory / "prometheus.yml"
    file.write_text(text)
    return file


def refused(directory: Path, text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as told:
        read_config(written(directory, text))
    return told.value


def test_a_whole_prometheus_yml_is_read_and_what_is_not_scraping_passed_over(
    tmp_path: Path,
) -> None:
    kong, files, pods = read_config(written(tmp_path, WHOLE))
    assert (kong.scrape_interval, kong.scrape_timeout) == (5, 4)
    assert kong.static_configs[0].targets == ("kong-1:8100", "kong-2:8100")
    assert (files.scrape_interval, files.body_size_limit) == (30, 10 << 20)
    assert files.file_sd_configs[0].files == (str(tmp_path / "targets/*.yml"),)
    assert files.basic_auth is not None
    assert files.basic_auth.password_file == tmp_path / "secrets/password"
    assert files.tls_config.ca_file == Path("/etc/ca.pem")
    assert pods.kubernetes_sd_configs[0].namespaces.names == ("shop",)
    assert pods.relabel_configs[0].regex == "linkerd-admin"


@pytest.mark.parametrize("section", sorted(ELSEWHERE))
def test_sections_of_other_parts_are_no_matter(tmp_path: Path, section: str) -> None:
    assert read_config(written(tmp_path, f"{section}: {{what: ever}}\n")) == []


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("oauth2: {}", "scrape_configs[0].oauth2"),
        ("proxy_url: http://p", "scrape_configs[0].proxy_url"),
        ("basic_auth: {username: a, password: s3cret}", "scrape_configs[0].basic_auth.password"),
        ("authorization: {credentials: s3cret}", "scrape_configs[0].authorization.credentials"),
        ("bearer_token: s3cret", "scrape_configs[0].bearer_token"),
        (
            "kubernetes_sd_configs: [{role: pod, kubeconfig_file: /root/.kube/config}]",
            "scrape_configs[0].kubernetes_sd_configs[0].kubeconfig_file",
        ),
    ],
)
def test_a_key_that_is_not_understood_is_named_with_what_to_write_instead(
    tmp_path: Path, key: str, place: str
) -> None:
    told = refused(tmp_path, f"scrape_configs:\n- job_name: a\n  {key}\n")
    assert told.field == f"{tmp_path / 'prometheus.yml'}: {place}"
    assert told.allowed == NOT_HERE[place.rpartition(".")[2]]
    assert "s3cret" not in str(told)


def test_another_discovery_is_told_the_way_through_a_file(tmp_path: Path) -> None:
    told = refused(tmp_path, "scrape_configs: [{job_name: a, consul_sd_configs: []}]")
    assert "file_sd_configs" in told.allowed


def test_how_prometheus_talks_makes_no_difference(tmp_path: Path) -> None:
    talk = "{job_name: a, scrape_protocols: [PrometheusProto], enable_http2: false}"
    (job,) = read_config(written(tmp_path, f"scrape_configs: [{talk}]"))
    assert job.job_name == "a"


def test_a_misspelt_key_is_named_with_what_was_likely_meant(tmp_path: Path) -> None:
    told = refused(tmp_path, "scrape_configs: [{job_name: a, metric_path: /x}]")
    assert "did you mean metrics_path?" in told.allowed


@pytest.mark.parametrize(
    ("text", "place", "allowed"),
    [
        ("scrape_configs: [{}]", "scrape_configs[0].job_name", "required"),
        ("scrape_configs: [{job_name: a, scrape_interval: fast}]",
         "scrape_configs[0].scrape_interval", "a duration such as 15s"),
        ("scrape_configs: [{job_name: a, scheme: file}]", "scrape_configs[0].scheme", "'http'"),
        ("scrape_configs: [{job_name: a}, {job_name: a}]", "", "each job_name once; a is there"),
        ("scrape_configs: [{job_name: a, scrape_interval: 1s, scrape_timeout: 2s}]",
         "scrape_configs[0]", "not longer than the scrape_interval"),
        ("scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: node}]}]",
         "scrape_configs[0].kubernetes_sd_configs[0].role", "'pod'"),
        ("scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://u:p@h/'}]}]",
         "scrape_configs[0].http_sd_configs[0].url", "match pattern"),
        ("scrape_configs: [{job_name: a, bearer_token_file: x, authorization: "
         + "{credentials_file: f}}]", "scrape_configs[0]", "one of authorization"),
        ("- 1", "", "a mapping"),
        ("a: [", "", "a YAML file"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_named(
    tmp_path: Path, text: str, place: str, allowed: str
) -> None:
    told = refused(tmp_path, text)
    assert place in told.field
    assert allowed in told.allowed


def test_a_file_that_is_not_there_is_a_clear_refusal(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nothing\.yml"):
        read_config(tmp_path / "nothing.yml")


def snippets(language: str) -> list[str]:
    """The examples of the documentation in one language."""
    return [part.partition("```")[0] for part in PAGE.read_text().split(f"```{language}\n")[1:]]


def test_the_configuration_in_the_documentation_is_read(tmp_path: Path) -> None:
    config, role = snippets("yaml")
    jobs = {job.job_name: job for job in read_config(written(tmp_path, config))}
    assert list(jobs) == ["kong", "envoy", "linkerd-proxy"]
    assert jobs["kong"].scrape_interval == 15
    assert yaml.safe_load(role)["rules"][0]["verbs"] == ["get", "list", "watch"]


def test_the_targets_in_the_documentation_are_read(tmp_path: Path) -> None:
    (groups,) = snippets("json")
    (job,) = read_config(written(tmp_path, "scrape_configs: [{job_name: scrape}]"))
    for found in groups_of(yaml.safe_load(groups), "docs"):
        target = target_of(found, job, interval=15, timeout=10)
        assert target is not None
        assert dict(target.resource)["service.name"] == "kong"
        assert dict(target.resource)["k8s.namespace.name"] == "edge"
    named = PAGE.read_text().partition("--scrape-targets ")[2].partition("`")[0]
    assert [address_labels(one)["__address__"] for one in named.split(",")] == [
        "kong:8100",
        "envoy:9901",
    ]


def test_every_key_that_is_understood_is_documented() -> None:
    text = PAGE.read_text()
    quiet = {"job_name", "honor_timestamps", *NoMatter.model_fields}
    for key in set(ScrapeJob.model_fields) - quiet:
        assert f"`{key}`" in text, key
