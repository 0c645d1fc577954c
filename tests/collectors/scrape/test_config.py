"""Prometheus' configuration, as far as it is understood, and how the rest is refused."""

from pathlib import Path

import pytest
import yaml

from collectors.scrape.config import ELSEWHERE, NOT_HERE, NoMatter, ScrapeJob, read_config
from collectors.scrape.discovery import groups_of
from collectors.scrape.target import address_labels, target_of
from pipeline.errors import InvalidInput

DEPLOYED = Path(__file__).parents[3] / "deploy" / "prometheus" / "prometheus.yml"
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
        ("http_headers: {x: {secrets: [s3cret]}}", "scrape_configs[0].http_headers.x.secrets"),
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


def test_a_word_that_is_none_of_those_allowed_is_repeated(tmp_path: Path) -> None:
    rule = "metric_relabel_configs: [{action: dropp}]"
    told = refused(tmp_path, f"scrape_configs: [{{job_name: a, {rule}}}]")
    assert (told.found, "'drop'" in told.allowed) == ("dropp", True)


def test_another_discovery_is_told_the_way_through_a_file(tmp_path: Path) -> None:
    told = refused(tmp_path, "scrape_configs: [{job_name: a, consul_sd_configs: []}]")
    assert "file_sd_configs" in told.allowed


def test_what_makes_no_difference_is_taken_in_jobs_and_for_all(tmp_path: Path) -> None:
    told = ", ".join(f"{key}: 1" for key in NoMatter.model_fields)
    text = f"global: {{{told}}}\nscrape_configs: [{{job_name: a, {told}}}]"
    (job,) = read_config(written(tmp_path, text))
    assert job.job_name == "a"


def test_what_is_wanted_as_text_is_what_was_written(tmp_path: Path) -> None:
    text = """
scrape_configs:
- job_name: 7
  honor_labels: yes
  sample_limit: 100
  params: {usedonly: [1]}
  static_configs:
  - targets: [a:1]
    labels: {port: 8080, version: 1.10, canary: true, day: 2025-11-25, none: }
  relabel_configs:
  - {source_labels: [a], regex: true, replacement: 0x10, target_label: b, action: Keep}
  - {source_labels: [a], target_label: c, replacement: }
  metric_relabel_configs:
  tls_config:
"""
    (job,) = read_config(written(tmp_path, text))
    assert (job.job_name, job.honor_labels, job.sample_limit) == ("7", True, 100)
    assert job.params == {"usedonly": ("1",)}
    assert job.static_configs[0].labels == {
        "port": "8080", "version": "1.10", "canary": "true", "day": "2025-11-25", "none": "",
    }  # fmt: skip
    first, second = job.relabel_configs
    assert (first.regex, first.replacement, first.action) == ("true", "0x10", "keep")
    assert second.replacement == ""
    assert job.metric_relabel_configs == ()


def test_what_is_said_for_all_holds_where_a_job_says_nothing(tmp_path: Path) -> None:
    text = """
global: {scrape_interval: 20s, scrape_timeout: 15s, sample_limit: 5, label_limit: 9,
         body_size_limit: 1MB, scrape_protocols: [PrometheusText0.0.4]}
scrape_configs: [{job_name: a}, {job_name: b, scrape_interval: 10s, sample_limit: 7}]
"""
    a, b = read_config(written(tmp_path, text))
    assert (a.scrape_interval, a.scrape_timeout, a.sample_limit, a.label_limit) == (20, 15, 5, 9)
    assert a.scrape_protocols == ("PrometheusText0.0.4",)
    assert (b.scrape_interval, b.scrape_timeout, b.sample_limit) == (10, 10, 7)
    assert b.body_size_limit == 1 << 20


def test_jobs_of_other_files_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "b.yml").write_text(
        "scrape_configs: [{job_name: b, bearer_token_file: token}]"
    )
    main = "global: {scrape_interval: 7s}\nscrape_config_files: [jobs/*.yml]\n"
    a, b = read_config(written(tmp_path, main + "scrape_configs: [{job_name: a}]"))
    assert (a.scrape_interval, b.job_name, b.scrape_interval) == (7, "b", 7)
    assert b.bearer_token_file == tmp_path / "jobs" / "token"
    assert (
        "each job_name once" in refused(tmp_path, main + "scrape_configs: [{job_name: b}]").allowed
    )
    (tmp_path / "jobs" / "c.yml").write_text("rule_files: []")
    assert "c.yml: rule_files" in refused(tmp_path, main).field


def test_the_prometheus_yml_of_the_deployment_is_read() -> None:
    meshweir, prometheus = read_config(DEPLOYED)
    (dns,) = meshweir.dns_sd_configs
    assert (dns.names, dns.type, dns.port) == (("collector", "worker", "api"), "A", 8080)
    assert meshweir.authorization is not None
    assert meshweir.authorization.credentials_file == Path("/run/secrets/api_token")
    assert prometheus.static_configs[0].targets == ("127.0.0.1:9090",)


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
        ("scrape_configs: [{job_name: a}, {job_name: a}]", "", "each job_name once"),
        ("scrape_configs: [{job_name: a, scrape_interval: 1s, scrape_timeout: 2s}]",
         "scrape_configs[0]", "not longer than the scrape_interval"),
        ("scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: node}]}]",
         "scrape_configs[0].kubernetes_sd_configs[0].role", "'pod'"),
        ("scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://u:p@h/'}]}]",
         "scrape_configs[0].http_sd_configs[0].url", "match pattern"),
        ("scrape_configs: [{job_name: a, bearer_token_file: x, authorization: "
         + "{credentials_file: f}}]", "scrape_configs[0]", "one of authorization"),
        ("scrape_configs: [{job_name: a, http_headers: {Accept: {values: [x]}}}]",
         "http_headers", "does not write itself"),
        ("scrape_configs: [{job_name: a, scrape_protocols: [Text]}]",
         "scrape_configs[0].scrape_protocols[0]", "'PrometheusText0.0.4'"),
        ("scrape_configs: [{job_name: a, metric_relabel_configs: [{action: keep, regex: '('}]}]",
         "metric_relabel_configs[0].regex", "a regular expression"),
        ("scrape_configs: [{job_name: a, basic_auth: {username: a, username_file: b, "
         + "password_file: c}}]", "scrape_configs[0].basic_auth", "one of username"),
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
    assert list(jobs) == ["kong", "envoy", "gateway", "linkerd-proxy"]
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
    for key in set(ScrapeJob.model_fields) - {"job_name"}:
        assert f"`{key}`" in text, key
