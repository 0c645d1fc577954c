"""``meshweir up`` as a process of its own, to be used from outside and killed."""

from pathlib import Path

from tests.e2e.process import FREE, Process


class Up(Process):
    """A running ``meshweir up`` on free ports."""

    def __init__(self, data: Path, *flags: object, log: Path | None = None) -> None:
        super().__init__(
            *("up", "--data", data, "--api-address", FREE),
            *("--otlp-http-address", FREE, "--otlp-grpc-address", FREE),
            *flags,
            listeners=3,
            log=log,
        )
