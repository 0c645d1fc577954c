"""What a busy sidecar of Istio exposes: histograms of 20 buckets with 20 labels, and counters."""

from collections.abc import Iterator

from pipeline.model.scrape import Scrape
from tests.pipeline.decode.remote_messages import Told, request, request_2

CALLS = 40
"""Pairs of workloads that call each other, in one scrape."""

SAMPLES = CALLS * 27
"""Samples of a scrape."""

_AT = 1_764_000_000_000
_BOUNDS = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000,
           300_000, 600_000, 1_800_000, 3_600_000)  # fmt: skip
_HISTOGRAM = "istio_request_duration_milliseconds"


def _labels(call: int) -> dict[str, str]:
    return {
        "reporter": "source",
        "source_workload": f"web-{call}",
        "source_canonical_service": f"web-{call}",
        "source_canonical_revision": "v1",
        "source_workload_namespace": "shop",
        "source_principal": f"spiffe://cluster.local/ns/shop/sa/web-{call}",
        "source_app": f"web-{call}",
        "source_version": "v1",
        "source_cluster": "Kubernetes",
        "destination_workload": "cart-v1",
        "destination_workload_namespace": "shop",
        "destination_principal": "spiffe://cluster.local/ns/shop/sa/cart",
        "destination_app": "cart",
        "destination_version": "v1",
        "destination_service": "cart.shop.svc.cluster.local",
        "destination_service_name": "cart",
        "destination_service_namespace": "shop",
        "destination_cluster": "Kubernetes",
        "request_protocol": "http",
        "response_code": "200",
        "response_flags": "-",
        "connection_security_policy": "mutual_tls",
    }


def _samples(number: int) -> Iterator[tuple[str, dict[str, str], float]]:
    for call in range(CALLS):
        labels = _labels(call)
        for place, bound in enumerate((*_BOUNDS, "+Inf")):
            yield f"{_HISTOGRAM}_bucket", {**labels, "le": str(bound)}, number + 100 * place
        yield f"{_HISTOGRAM}_sum", labels, number * 1.25
        yield f"{_HISTOGRAM}_count", labels, number + 100 * len(_BOUNDS)
        for code in ("200", "404", "500", "503", "504"):
            yield "istio_requests_total", {**labels, "response_code": code}, number + call


def scrapes(count: int) -> list[bytes]:
    """So many scrapes of such sidecars, as text."""
    found = []
    for number in range(count):
        head = Scrape(_AT, 0.01, up=True, resource={"service.name": f"web-{number}"}).line()
        lines = [f"# TYPE {_HISTOGRAM} histogram", "# TYPE istio_requests_total counter"]
        for name, labels, value in _samples(number):
            pairs = ",".join(f'{key}="{text}"' for key, text in labels.items())
            lines.append(f"{name}{{{pairs}}} {value:g}")
        found.append(head + "\n".join(lines).encode() + b"\n")
    return found


def writes(count: int) -> dict[str, list[bytes]]:
    """The same as remote write tells them, in both versions."""
    bodies: dict[str, list[bytes]] = {"remote_write": [], "remote_write_2": []}
    for number in range(count):
        series = [
            Told(
                {"__name__": name, "job": "web", "instance": f"{number}", **labels}, [(value, _AT)]
            )
            for name, labels, value in _samples(number)
        ]
        bodies["remote_write"].append(request(series).SerializeToString())
        bodies["remote_write_2"].append(request_2(series).SerializeToString())
    return bodies
