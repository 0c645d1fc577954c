"""Targets out of what was found, and their turns."""

import math

import pytest
from hypothesis import given, strategies as st

from collectors.scrape.config import ScrapeJob
from collectors.scrape.target import Found, Target, address_labels, target_of
from pipeline.errors import InvalidInput


def job(**keys: object) -> ScrapeJob:
    return ScrapeJob.model_validate({"job_name": "shop"} | keys)


def made(labels: dict[str, str], of: ScrapeJob | None = None, **resource: str) -> Target:
    found = Found(labels, resource)
    target = target_of(found, of or job(), interval=15, timeout=10)
    assert target is not None
    return target


def test_job_and_instance_are_the_service() -> None:
    target = made({"__address__": "cart:8080", "env": "test", "__meta_x": "y"})
    assert target.url == "http://cart:8080/metrics"
    assert dict(target.resource) == {
        "service.name": "shop",
        "service.instance.id": "cart:8080",
        "server.address": "cart",
        "server.port": "8080",
        "url.scheme": "http",
        "env": "test",
    }
    assert (target.interval, target.timeout) == (15, 10)


def test_a_job_says_how_its_targets_are_asked() -> None:
    of = job(
        scheme="https",
        metrics_path="stats/prometheus",
        params={"usedonly": [""], "match[]": ["a", "b"]},
        scrape_interval="30s",
        scrape_timeout="5s",
    )
    target = made({"__address__": "[::1]:9901"}, of)
    assert target.url == (
        "https://[::1]:9901/stats/prometheus?usedonly=&match%5B%5D=a&match%5B%5D=b"
    )
    assert target.shown == "https://[::1]:9901/stats/prometheus"
    assert (target.interval, target.timeout) == (30, 5)
    assert dict(target.resource)["server.address"] == "::1"


def test_labels_go_before_the_job() -> None:
    labels = {
        "__address__": "cart",
        "__scheme__": "https",
        "__metrics_path__": "/m",
        "__param_module": "x",
        "__scrape_interval__": "1m",
        "__scrape_timeout__": "20s",
        "job": "other",
        "instance": "one",
    }
    target = made(labels, job(params={"module": ["y"]}))
    assert target.url == "https://cart/m?module=x"
    assert (target.job, target.instance) == ("other", "one")
    assert (target.interval, target.timeout) == (60, 20)
    assert dict(target.resource)["service.name"] == "other"
    assert dict(target.resource)["server.port"] == "443"


def test_what_a_pod_says_it_is_goes_before_the_job_but_not_before_a_rule() -> None:
    labels = {"__address__": "10.0.0.7:80"}
    pod = {"service.name": "cart", "k8s.pod.name": "cart-1"}
    assert dict(made(labels, **pod).resource)["service.name"] == "cart"
    rules = [{"target_label": "job", "replacement": "mine"}]
    told = dict(made(labels, job(relabel_configs=rules), **pod).resource)
    assert (told["service.name"], told["k8s.pod.name"]) == ("mine", "cart-1")


def test_a_rule_may_drop_a_target() -> None:
    rules = [{"source_labels": ["__address__"], "regex": "cart.*", "action": "drop"}]
    found = Found({"__address__": "cart:80"})
    assert target_of(found, job(relabel_configs=rules), interval=1, timeout=1) is None


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ({}, "__address__"),
        ({"__address__": "a/b"}, "__address__"),
        ({"__address__": "user:secret@a"}, "__address__"),
        ({"__address__": "a:99999"}, "__address__"),
        ({"__address__": "a:x"}, "__address__"),
        ({"__address__": "a b"}, "__address__"),
        ({"__address__": "a", "__scheme__": "file"}, "__scheme__"),
        ({"__address__": "a", "__scrape_interval__": "soon"}, "__scrape_interval__"),
        ({"__address__": "a", "__scrape_timeout__": "16s"}, "__scrape_timeout__"),
        ({"__address__": "a", "__scrape_interval__": "0s"}, "__scrape_interval__"),
    ],
)
def test_what_cannot_be_scraped_is_refused(labels: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        made(labels)
    assert refused.value.field == field
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("cart:8080", "http://cart:8080/metrics"),
        ("https://cart:8443", "https://cart:8443/metrics"),
        ("http://envoy:9901/stats/prometheus?usedonly",
         "http://envoy:9901/stats/prometheus?usedonly="),
        ("http://[::1]:80/m", "http://[::1]:80/m"),
    ],
)  # fmt: skip
def test_a_person_may_write_an_address_or_a_url(text: str, url: str) -> None:
    assert made(address_labels(text)).url == url


@pytest.mark.parametrize("text", ["file:///etc/passwd", "ftp://a/b", "http://u:s3cret@cart/"])
def test_no_other_url_is_taken_and_no_secret_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        address_labels(text)
    assert "s3cret" not in str(refused.value)


@given(
    now=st.floats(min_value=0, max_value=4e9),
    interval=st.floats(min_value=0.5, max_value=600),
    port=st.integers(min_value=1, max_value=65535),
)
def test_every_target_keeps_its_place_in_the_interval(
    now: float, interval: float, port: int
) -> None:
    target = target_of(Found({"__address__": f"a:{port}"}), job(), interval=interval, timeout=0.1)
    assert target is not None
    wait = target.seconds_to_next(now)
    assert 0 <= wait <= interval
    place = math.fmod(now + wait, interval)
    again = now + 7.25 * interval
    there = math.fmod(again + target.seconds_to_next(again), interval)
    apart = abs(place - there)
    assert min(apart, interval - apart) < 1e-3


def test_places_are_spread() -> None:
    waits = [made({"__address__": f"a:{port}"}).seconds_to_next(0) for port in range(1, 201)]
    for part in range(5):
        assert 20 <= sum(3 * part <= wait < 3 * part + 3 for wait in waits) <= 60
