"""Envoy: a RouteConfiguration with the route that the advice is about.

Envoy's configuration is the operator's; the document shows the fields to merge into the route of
the client's Envoy, in a form that Envoy itself accepts.
"""

from typing import Any, Final

from pipeline.model.policy import PolicyTarget, Recommendation, Timeout
from pipeline.render.renderer import Manifest, Unsupported
from pipeline.render.route import RouteMatch, route_match
from pipeline.render.yaml import document, seconds

KIND: Final = "envoy.config.route.v3.RouteConfiguration"


class Envoy:
    """Renders routes of Envoy's API, version 3."""

    plane = "envoy"

    def render(self, recommendation: Recommendation) -> Manifest | Unsupported:
        """A RouteConfiguration for the Envoy in front of the client."""
        target = recommendation.target
        match = route_match(target.route) if target.route else None
        if target.route and match is None:
            return Unsupported(self.plane, f"{target.route!r} is not a path that a route can match")
        name = _cluster(target.server)
        if not name:
            return Unsupported(self.plane, "a route needs a cluster, and the service has no name")
        value = {
            "name": name,
            "virtual_hosts": [
                {
                    "name": name,
                    "domains": ["*"],
                    "routes": [{"match": _match(match), "route": _route(name, recommendation)}],
                }
            ],
        }
        return Manifest(self.plane, KIND, document(value, recommendation, _where(target, name)))


def _where(target: PolicyTarget, name: str) -> str:
    whose = f"the Envoy that {target.client} calls through" if target.client else "every Envoy"
    return (
        f"For {whose}: merge timeout and retry_policy into the route to the cluster of "
        f"{target.server}, here called {name}. What is retried (retry_on) stays as it is."
    )


def _cluster(server: str) -> str:
    """``name.namespace``, as clusters of services are commonly called."""
    namespace, _, name = server.rpartition("/")
    return f"{name}.{namespace}" if namespace else name


def _match(match: RouteMatch | None) -> dict[str, Any]:
    if match is None:
        return {"prefix": "/"}
    found: dict[str, Any] = {"safe_regex": {"regex": match.path_regex}}
    if match.method:
        found["headers"] = [{"name": ":method", "string_match": {"exact": match.method}}]
    return found


def _route(name: str, recommendation: Recommendation) -> dict[str, Any]:
    policy: Timeout = recommendation.policy
    return {
        "cluster": name,
        "timeout": seconds(policy.request_seconds),
        "retry_policy": {
            "num_retries": policy.tries - 1,
            "per_try_timeout": seconds(policy.per_try_seconds),
        },
    }
