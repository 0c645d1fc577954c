"""Where the demo's proxies are scraped: a configuration of Prometheus, and the targets it names.

Meshweir starts before the mesh and knows the configuration; the targets are written once their
ports are known.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from api.demo.envoy import STATS_PATH, Address, Gateway, Sidecar
from api.demo.mesh import GATEWAY_VERSION, Mesh
from api.demo.teller import JsonObject

INTERVAL_SECONDS: Final = 1
"""From one scrape of a proxy to the next."""

_CONFIGURATION: Final = """\
global:
  scrape_interval: {interval}s
  scrape_timeout: {interval}s
scrape_configs:
- job_name: envoy
  metrics_path: {path}
  file_sd_configs:
  - files: [{targets}]
    refresh_interval: {interval}s
"""


def targets_file(directory: Path) -> Path:
    """Where a mesh says which addresses to scrape, as Prometheus' file discovery reads it."""
    return directory / "targets.json"


def write_configuration(directory: Path) -> Path:
    """Write what Meshweir is to scrape; returns the file."""
    file = directory / "prometheus.yml"
    targets = json.dumps(str(targets_file(directory)))
    file.write_text(
        _CONFIGURATION.format(interval=INTERVAL_SECONDS, path=STATS_PATH, targets=targets)
    )
    return file


def write_targets(
    directory: Path, mesh: Mesh, sidecars: Iterable[Sidecar], gateway: Gateway
) -> None:
    """Write all proxies as targets."""
    targets = [_target(mesh, gateway.stats, mesh.gateway, GATEWAY_VERSION)]
    targets += [
        _target(mesh, place.stats, place.service.name, place.version.name) for place in sidecars
    ]
    targets_file(directory).write_text(json.dumps(targets, indent=1))


def _target(mesh: Mesh, address: Address, service: str, version: str) -> JsonObject:
    labels = {
        "job": service,
        "service.namespace": mesh.namespace,
        "service.version": version,
        "k8s.deployment.name": f"{service}-{version}",
    }
    return {"targets": [str(address)], "labels": labels}
