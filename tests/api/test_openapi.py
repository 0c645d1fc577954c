"""The OpenAPI document is complete, and the application does what it says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

PLAIN = ("/livez", "/readyz", "/metrics")
"""Routes without parameters: nothing that they are asked can be wrong by the document."""

PATHS = (
    *PLAIN,
    "/v1/graph",
    "/v1/services",
    "/v1/services/{service}",
    "/v1/services/{service}/routes",
    "/v1/edges/{client}/{server}/evidence",
    "/v1/traces/{trace_id}",
    "/v1/recommendations",
    "/v1/ingest",
    "/v1/quarantine",
    "/v1/scrape/targets",
    "/v1/identities/conflicts",
    "/v1/links",
)


def test_these_are_all_routes(app):
    assert tuple(app.openapi()["paths"]) == PATHS


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((path, GenerationMode.POSITIVE) for path in PATHS),
        *((path, GenerationMode.NEGATIVE) for path in PATHS if path not in PLAIN),
    ],
)
def test_any_request_is_answered_as_documented(app, path, mode):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)

    @given(case=schema[path]["GET"].as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    def answered(case):
        # what a schema cannot say is refused too: start before end, cursors that we gave
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    answered()


def test_every_route_says_what_it_does_and_how_it_fails(app):
    for path, operations in app.openapi()["paths"].items():
        operation = operations["get"]
        assert operation["summary"], path
        assert operation["description"], path
        assert operation["tags"], path
        assert {"200", "400"} <= set(operation["responses"]), path
        assert "422" not in operation["responses"], path
        for status, answer in operation["responses"].items():
            if status != "200":
                assert list(answer["content"]) == ["application/problem+json"], (path, status)


def test_every_parameter_is_described(app):
    for path, operations in app.openapi()["paths"].items():
        for parameter in operations["get"].get("parameters", []):
            assert parameter.get("description"), (path, parameter["name"])


def test_lists_and_the_graph_are_documented_as_arrow_too(app):
    for path, operations in app.openapi()["paths"].items():
        if path.startswith("/v1/"):
            content = operations["get"]["responses"]["200"]["content"]
            assert set(content) == {"application/json", "application/vnd.apache.arrow.stream"}


def test_every_reference_leads_somewhere(app):
    document = app.openapi()
    models = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "$ref":
                    yield inner
                else:
                    yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    found = set(references(document))
    assert found
    assert {name.rpartition("/")[2] for name in found} <= set(models)


def test_models_have_examples(app):
    models = app.openapi()["components"]["schemas"]
    for name in ("Node", "Edge", "Quantiles", "Problem", "Service", "Span", "Flow"):
        assert any("examples" in field for field in models[name]["properties"].values()), name
