"""Names of pods, which Kubernetes makes up from the names of what they belong to."""

import polars as pl


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
