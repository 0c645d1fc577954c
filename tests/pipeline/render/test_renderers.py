"""The documents of every plane: as written down, and accepted by what reads them."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
import yaml

from pipeline.render import RENDERERS, render_all
from pipeline.render.renderer import Manifest, Unsupported
from pipeline.render.route import RouteMatch, route_match
from tests.golden import Golden
from tests.pipeline.render.cases import CASES
from tests.recordings import shared

GOLDEN = Path(__file__).parent / "golden"


def manifest(case: str, plane: str) -> Manifest:
    (found,) = (one for one in render_all(CASES[case]) if one.plane == plane)
    if isinstance(found, Unsupported):
        pytest.skip(f"{plane}: {found.reason}")
    return found


@pytest.mark.parametrize("case", CASES)
def test_documents_are_as_written_down(case: str, golden: Golden) -> None:
    for found in render_all(CASES[case]):
        if isinstance(found, Unsupported):
            golden.check(GOLDEN / f"{case}.{found.plane}.unsupported.txt", found.reason + "\n")
        else:
            golden.check(GOLDEN / f"{case}.{found.plane}.yaml", found.text)


def test_every_plane_has_a_name_of_its_own() -> None:
    assert [renderer.plane for renderer in RENDERERS] == ["envoy", "istio"]


@pytest.mark.parametrize("case", CASES)
def test_envoy_accepts_what_is_rendered_for_it(case: str, tmp_path: Path) -> None:
    envoy = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if envoy is None:
        pytest.skip("the envoy binary is not here")
    routes = yaml.safe_load(manifest(case, "envoy").text)
    config = tmp_path / "envoy.yaml"
    config.write_text(yaml.safe_dump(bootstrap(routes)))
    checked = subprocess.run(
        [envoy, "--mode", "validate", "-c", str(config), "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def bootstrap(routes: dict[str, Any]) -> dict[str, Any]:
    """The smallest Envoy that has these routes."""
    manager = {
        "@type": (
            "type.googleapis.com/envoy.extensions.filters.network."
            "http_connection_manager.v3.HttpConnectionManager"
        ),
        "stat_prefix": "in",
        "route_config": routes,
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    chain = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    cluster = routes["virtual_hosts"][0]["routes"][0]["route"]["cluster"]
    return {
        "static_resources": {
            "listeners": [{"name": "in", "address": address, "filter_chains": [chain]}],
            "clusters": [{"name": cluster, "connect_timeout": "1s"}],
        }
    }


def strict(schema: Any) -> Any:
    """A structural schema that refuses fields it does not know, as Kubernetes does when asked."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(value) for key, value in schema.items()}
    if "properties" in found and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


@pytest.mark.parametrize("case", CASES)
def test_istio_accepts_what_is_rendered_for_it(case: str) -> None:
    path = shared("schemas/kubernetes/networking.istio.io_v1_VirtualService.json")
    crd = orjson.loads(path.read_bytes())
    document = yaml.safe_load(manifest(case, "istio").text)
    assert (document["apiVersion"], document["kind"]) == (crd["apiVersion"], crd["kind"])
    validator = jsonschema_rs.validator_for(strict(crd["openAPIV3Schema"]))
    kept = {
        key: value for key, value in document.items() if key in crd["openAPIV3Schema"]["properties"]
    }
    assert "spec" in kept
    validator.validate(kept)
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate({"spec": {**kept["spec"], "unheard_of": 1}})


def test_the_policy_arrives() -> None:
    envoy = yaml.safe_load(manifest("timeout", "envoy").text)
    assert envoy["virtual_hosts"][0]["routes"][0]["route"] == {
        "cluster": "cart.shop",
        "timeout": "0.88s",
        "retry_policy": {"num_retries": 2, "per_try_timeout": "0.26s"},
    }
    istio = yaml.safe_load(manifest("timeout", "istio").text)
    advised, rest = istio["spec"]["http"]
    assert advised["timeout"] == "0.88s"
    assert advised["retries"] == {"attempts": 2, "perTryTimeout": "0.26s"}
    assert advised["match"] == [
        {
            "sourceLabels": {"service.istio.io/canonical-name": "frontend"},
            "sourceNamespace": "shop",
        }
    ]
    assert rest == {"route": advised["route"]}


@pytest.mark.parametrize(
    ("route", "match"),
    [
        ("GET /users/{id}", RouteMatch("GET", "/users/[^/]+")),
        ("POST /a.b/:name/x", RouteMatch("POST", "/a\\.b/[^/]+/x")),
        ("/plain", RouteMatch(None, "/plain")),
        ("pkg.Service/Get", RouteMatch(None, "/pkg\\.Service/Get")),
        ("not a route", None),
        ("", None),
    ],
)
def test_routes(route: str, match: RouteMatch | None) -> None:
    assert route_match(route) == match
