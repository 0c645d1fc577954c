"""Configurations: Envoy accepts them, and they stay on loopback."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from api.demo.envoy import Address
from api.demo.mesh import MESH
from api.demo.network import Ports
from api.demo.processes import find_program
from api.demo.running import lay_out

ENVOY = find_program("envoy")


@pytest.fixture
def layout(tmp_path):
    with Ports() as ports:
        yield lay_out(MESH, telemetry=Address(4317), directory=tmp_path, ports=ports)


def walk(tree: object) -> Iterator[dict]:
    if isinstance(tree, dict):
        yield tree
        for branch in tree.values():
            yield from walk(branch)
    elif isinstance(tree, list):
        for branch in tree:
            yield from walk(branch)


@pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (extra `demo`)")
def test_envoy_accepts_every_configuration(layout, tmp_path):
    for name, configuration in layout.configurations.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(configuration))
        answer = subprocess.run(
            [ENVOY, "--mode", "validate", "--config-path", path, "--log-level", "error"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, f"{name}: {answer.stderr}{answer.stdout}"


def test_nothing_listens_or_connects_outside_loopback(layout):
    places = [
        tree["socket_address"]["address"]
        for tree in walk(layout.configurations)
        if "socket_address" in tree
    ]
    assert len(places) > len(layout.configurations)
    assert set(places) == {"127.0.0.1"}


def test_every_sidecar_demands_a_certificate_of_the_mesh_and_knows_whom_it_calls(layout):
    for sidecar in layout.sidecars:
        configuration = layout.configurations[sidecar.workload]
        inbound = configuration["static_resources"]["listeners"][0]
        context = inbound["filter_chains"][0]["transport_socket"]["typed_config"]
        assert context["require_client_certificate"] is True
        upstreams = [
            cluster
            for cluster in configuration["static_resources"]["clusters"]
            if cluster["name"] not in {"inbound", "telemetry", "admin"}
        ]
        callees = MESH.callees(sidecar.service)
        assert len(upstreams) == sum(len(callee.versions) for callee in callees)
        for cluster in upstreams:
            tls = cluster["transport_socket"]["typed_config"]["common_tls_context"]
            [name] = tls["validation_context"]["match_typed_subject_alt_names"]
            service = cluster["name"].removesuffix("-v1").removesuffix("-v2")
            assert name["matcher"] == {"exact": f"spiffe://demo.meshweir/ns/shop/sa/{service}"}


def test_every_port_is_given_once(layout):
    listeners = [
        tree["address"]["socket_address"]["port_value"]
        for configuration in layout.configurations.values()
        for tree in configuration["static_resources"]["listeners"]
    ]
    applications = [sidecar.application.port for sidecar in layout.sidecars]
    assert len(set(listeners + applications)) == len(listeners) + len(applications)
