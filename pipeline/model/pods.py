"""Pods: the names that Kubernetes makes up for them, and whose log a file is.

A line seldom says who wrote it; the path of a container's log does. It goes before the lines on the
bus, as one line that no program logs, so that a message stands for itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import orjson
import polars as pl

POD_PREFIX: Final = b"# meshweir pod "
"""What the line begins with that says whose the lines after it are; a JSON object follows."""

_NAME: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_PATHS: Final = (
    # <namespace>_<pod>_<uid>/<container>/<restarts>.log, and what rotation makes of it
    re.compile(
        rf"/pods/(?P<namespace>{_NAME})_(?P<pod>{_NAME})_[0-9a-f-]{{32,36}}"
        rf"/(?P<container>{_NAME})/\d+\.log[^/]*$"
    ),
    re.compile(
        rf"/containers/(?P<pod>{_NAME})_(?P<namespace>{_NAME})_(?P<container>{_NAME})"
        r"-[0-9a-f]{64}\.log$"
    ),
)
_ATTRIBUTES: Final = {
    "namespace": "k8s.namespace.name",
    "pod": "k8s.pod.name",
    "container": "k8s.container.name",
}


@dataclass(frozen=True, slots=True)
class ContainerLog:
    """Whose log a file is.

    Attributes:
        namespace: the namespace of the pod.
        pod: the pod.
        container: the container in it.
    """

    namespace: str
    pod: str
    container: str

    @classmethod
    def of_path(cls, path: str) -> Self | None:
        """What the path of a file under ``/var/log/pods`` or ``/var/log/containers`` says.

        Source: kubernetes/kubernetes ``pkg/kubelet/kuberuntime`` (``BuildContainerLogsDirectory``,
        ``legacyLogSymlink``). A static pod's uid has no dashes.
        """
        found = next((match for known in _PATHS if (match := known.search(path))), None)
        return cls(**found.groupdict()) if found else None

    @classmethod
    def of(cls, line: bytes) -> Self | None:
        """What a line before others says; None when it is no such line."""
        if not line.startswith(POD_PREFIX):
            return None
        try:
            told = orjson.loads(line.removeprefix(POD_PREFIX))
            named = {name: told[key] for name, key in _ATTRIBUTES.items()}
        except (ValueError, KeyError, TypeError):
            return None
        return cls(**named) if all(isinstance(name, str) for name in named.values()) else None

    @property
    def attributes(self) -> Mapping[str, str]:
        """The same as resource attributes of OpenTelemetry."""
        return {key: getattr(self, name) for name, key in _ATTRIBUTES.items()}

    def line(self) -> bytes:
        """The line, with its line feed."""
        return POD_PREFIX + orjson.dumps(dict(self.attributes)) + b"\n"


def service_of_pod(pod: pl.Expr) -> pl.Expr:
    """The workload a pod belongs to, by the name that its controller gave it.

    ``<deployment>-<hash>-<5 characters>``, ``<daemon set>-<5 characters>``, ``<stateful set>-<n>``;
    the letters are those that Kubernetes uses in generated names.
    """
    generated = "[bcdfghjklmnpqrstvwxz2456789]"
    deployment = rf"^(.+)-{generated}{{6,10}}-{generated}{{5}}$"
    daemon = rf"^(.+)-{generated}{{5}}$"
    return pl.coalesce(
        pod.str.extract(deployment),
        pod.str.extract(daemon),
        pod.str.extract(r"^(.+)-\d{1,4}$"),
        pod,
    )
