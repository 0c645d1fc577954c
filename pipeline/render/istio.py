"""Istio: a VirtualService for the host of a service (networking.istio.io/v1)."""

import re
from typing import Any, Final

from pipeline.model.policy import PolicyTarget, Recommendation, Timeout
from pipeline.render.renderer import Manifest, Unsupported
from pipeline.render.route import route_match
from pipeline.render.yaml import document, seconds

KIND: Final = "VirtualService"
DOMAIN: Final = "svc.cluster.local"
CLIENT_LABEL: Final = "service.istio.io/canonical-name"
"""The label by which Istio itself names a workload's service; its injector sets it on every pod."""

_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


class Istio:
    """Renders VirtualServices."""

    plane = "istio"

    def render(self, recommendation: Recommendation) -> Manifest | Unsupported:
        """A VirtualService for calls to the target, from its client or from anybody."""
        target = recommendation.target
        refusal = _refusal(target)
        if refusal:
            return Unsupported(self.plane, refusal)
        namespace, _, name = target.server.rpartition("/")
        host = f"{name}.{namespace}.{DOMAIN}"
        value = {
            "apiVersion": "networking.istio.io/v1",
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"hosts": [host], "http": _routes(recommendation, host)},
        }
        note = (
            "Where a VirtualService for this host exists, merge the first route into it: Istio "
            "takes only one for a host."
        )
        return Manifest(self.plane, KIND, document(value, recommendation, note))


def _refusal(target: PolicyTarget) -> str:
    namespace = target.server.rpartition("/")[0]
    if not namespace:
        return f"a VirtualService needs a namespace, and {target.server!r} has none"
    for node in (target.server, target.client):
        for part in (node or "").split("/") if node else ():
            if not _DNS_LABEL.fullmatch(part):
                return f"{node!r} cannot be the name of a Kubernetes service"
    if "/" in namespace:
        return f"{target.server!r} cannot be the name of a Kubernetes service"
    if target.route and route_match(target.route) is None:
        return f"{target.route!r} is not a path that a route can match"
    return ""


def _routes(recommendation: Recommendation, host: str) -> list[dict[str, Any]]:
    """The route that is advised, then the way all other requests go as before."""
    policy: Timeout = recommendation.policy
    destination = [{"destination": {"host": host}}]
    advised: dict[str, Any] = {"name": f"meshweir-{recommendation.id}"}
    match = _match(recommendation.target)
    if match:
        advised["match"] = [match]
    advised |= {
        "route": destination,
        "timeout": seconds(policy.request_seconds),
        "retries": {
            "attempts": policy.tries - 1,
            "perTryTimeout": seconds(policy.per_try_seconds),
        },
    }
    return [advised, {"route": destination}] if match else [advised]


def _match(target: PolicyTarget) -> dict[str, Any]:
    found: dict[str, Any] = {}
    route = route_match(target.route) if target.route else None
    if route:
        found["uri"] = {"regex": route.path_regex}
        if route.method:
            found["method"] = {"exact": route.method}
    if target.client:
        namespace, _, name = target.client.rpartition("/")
        found["sourceLabels"] = {CLIENT_LABEL: name}
        if namespace:
            found["sourceNamespace"] = namespace
    return found
