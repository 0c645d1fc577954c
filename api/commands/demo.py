"""``meshweir demo``."""

import argparse
from pathlib import Path

from api.commands.command import Command, Parser, Prepared, run_loop
from api.settings import Settings
from collectors.listen import split_address
from pipeline.errors import InvalidInput


def _add(parser: Parser) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where to keep what is stored [removed at the end]"
    )
    parser.add_argument("--api-port", type=int, default=8080, help="port of the API [8080]")
    parser.add_argument(
        "--otlp-grpc-port", type=int, default=4317, help="port for the proxies' telemetry [4317]"
    )
    parser.add_argument(
        "--kafka",
        nargs="?",
        const="",
        metavar="HOST:PORT[,...]",
        help="run Meshweir in three processes with Kafka between them; without a value a real"
        " broker is started [one process, no Kafka]",
    )
    parser.add_argument(
        "--send-to",
        type=int,
        metavar="PORT",
        help="run the mesh alone, beside a Meshweir that takes OTLP/gRPC on this port of loopback"
        " [start one]",
    )
    parser.add_argument("--duration", type=float, help="seconds of load [until Ctrl-C]")


def _prepare(asked: argparse.Namespace, _: Settings) -> Prepared:
    from api import demo  # noqa: PLC0415 - not before it is asked for

    others = {"--data": asked.data, "--kafka": asked.kafka}
    if asked.send_to is not None and (given := [name for name in others if others[name]]):
        raise InvalidInput("--send-to", found=asked.send_to, allowed=f"not with {given[0]}")
    for server in filter(None, (asked.kafka or "").split(",")):
        split_address(server, field="--kafka")
    return lambda: run_loop(
        demo.run(
            asked.data,
            api_port=asked.api_port,
            otlp_grpc_port=asked.otlp_grpc_port,
            kafka=asked.kafka,
            send_to=asked.send_to,
            duration=asked.duration,
        )
    )


COMMAND = Command(
    name="demo",
    summary="Run a real Envoy mesh on loopback with Meshweir beside it.",
    add=_add,
    prepare=_prepare,
)
