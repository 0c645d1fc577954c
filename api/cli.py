"""The command ``meshweir``: reads arguments, calls one function, answers with an exit code.

0 done, 1 failed with a reason, 2 wrong usage, 130 after Ctrl-C. Logs go to stderr, results to
stdout.
"""

import argparse
import asyncio
import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from api.settings import Setting, Settings, declared, load, misspelt
from api.version import program_version
from pipeline.errors import InvalidInput, MeshweirError
from pipeline.model.topology import GroupBy

log = logging.getLogger("meshweir")

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130

GRAPH_FORMATS: Final = ("table", "json", "mermaid", "dot")

SECTIONS: Final = {
    "": "process",
    "api": "HTTP API",
    "collectors": "receivers",
    "bus": "embedded bus",
    "store": "store",
}


class Parser(argparse.ArgumentParser):
    """An argument parser that hints at near misses and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on."""
        self.exit(WRONG_USAGE, f"{self.prog}: {message}; try {self.prog} --help\n")

    def refuse_unknown(self, words: Sequence[str]) -> NoReturn:
        """Say which words are unknown, and what was likely meant."""
        known = sorted(self._option_string_actions)
        flag = words[0].partition("=")[0]
        near = difflib.get_close_matches(flag, known, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        self.error(f"unknown argument {' '.join(words)}{hint}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its code."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # who read the output has gone; Python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser, commands = _parsers()
    asked, unknown = parser.parse_known_args(list(_with_times(arguments)))
    if unknown:
        commands[asked.command].refuse_unknown(unknown)
    prog = commands[asked.command].prog
    try:
        settings = _settings(asked)
        prepared: Callable[[], int] = asked.prepare(asked, settings)
    except InvalidInput as problem:
        sys.stderr.write(f"{prog}: {problem}; try {prog} --help\n")
        return WRONG_USAGE
    _log_to_stderr(settings)
    try:
        return prepared()
    except MeshweirError as problem:
        sys.stderr.write(f"{prog}: {problem}\n")
        return FAILED


def _with_times(arguments: Sequence[str]) -> Iterator[str]:
    """Write ``--start -1h`` as ``--start=-1h``: argparse would take ``-1h`` for a flag."""
    words = iter(arguments)
    for word in words:
        if word not in {"--start", "--end"}:
            yield word
        elif (time := next(words, None)) is not None and re.match(r"-\d", time):
            yield f"{word}={time}"
        else:
            yield word
            if time is not None:
                yield time


def _settings(asked: argparse.Namespace) -> Settings:
    flags = {
        name.removeprefix("set_"): value
        for name, value in vars(asked).items()
        if name.startswith("set_")
    }
    config = getattr(asked, "config", None) or os.environ.get("MESHWEIR_CONFIG")
    return load(flags=flags, environment=os.environ, file=None if config is None else Path(config))


def _log_to_stderr(settings: Settings) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    for found, meant in misspelt(os.environ):
        log.warning("the environment variable %s is no setting; did you mean %s?", found, meant)


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="meshweir",
        description="Measures the traffic of service meshes and API gateways.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"meshweir {program_version()}")
    places = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands = {}
    for name, (add, summary) in COMMANDS.items():
        commands[name] = places.add_parser(
            name,
            help=summary,
            description=summary,
            usage=f"meshweir {name} [options]{' FILE...' if name == 'import' else ''}",
            allow_abbrev=False,
        )
        add(commands[name])
    return parser, commands


def _add_settings(parser: Parser, sections: Sequence[str], *, also: Sequence[str] = ()) -> None:
    """Flags for all settings of some sections, and for single ones."""
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings [MESHWEIR_CONFIG]")
    for section in dict.fromkeys([*sections, *(key.partition("_")[0] for key in also)]):
        group = parser.add_argument_group(SECTIONS[section])
        for setting in declared():
            wanted = section in sections or setting.key in also
            if setting.section == section and setting.flag is not None and wanted:
                _add_flag(group, setting)


def _add_flag(group: argparse._ArgumentGroup, setting: Setting) -> None:
    assert setting.flag is not None  # noqa: S101 - who calls has asked
    default = f"; {setting.default}" if setting.default else ""
    text = f"{setting.field.description} [{setting.variable}{default}]"
    group.add_argument(
        setting.flag,
        dest=f"set_{setting.key}",
        metavar=setting.path[-1].upper(),
        default=argparse.SUPPRESS,
        help=text.replace("%", "%%"),
    )


def _add_up(parser: Parser) -> None:
    _add_settings(parser, list(SECTIONS))
    parser.set_defaults(prepare=_prepare_up)


def _prepare_up(_: argparse.Namespace, settings: Settings) -> Callable[[], int]:
    from api.up import up  # noqa: PLC0415

    settings.api.bearer_token()
    return lambda: _run_loop(up(settings, sys.stdout))


def _add_import(parser: Parser) -> None:
    from collectors.formats import AUTO, FORMATS  # noqa: PLC0415

    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings to read")
    parser.add_argument(
        "--format", default=AUTO, help=f"{AUTO} (default), or one of: {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--json", action="store_true", help="print what became of each file as JSON"
    )
    _add_settings(parser, ["", "bus", "store"])
    parser.set_defaults(prepare=_prepare_import)


def _prepare_import(asked: argparse.Namespace, settings: Settings) -> Callable[[], int]:
    from api import importing  # noqa: PLC0415
    from collectors.formats import known  # noqa: PLC0415

    form = known(asked.format)

    def imported() -> int:
        async def work() -> int:
            reports = await importing.import_recordings(settings, asked.files, format=form)
            if asked.json:
                sys.stdout.buffer.write(importing.answer(reports))
            else:
                sys.stdout.write(importing.summary(reports))
            sys.stdout.flush()
            return FAILED if any(report.error for report in reports) else DONE

        return _run_loop(work())

    return imported


def _add_graph(parser: Parser) -> None:
    parser.add_argument("--url", help="a running Meshweir, such as http://127.0.0.1:8080")
    parser.add_argument("--start", help="begin: RFC 3339, -15m, Unix seconds [all there is]")
    parser.add_argument("--end", help="end, exclusive; likewise [all there is]")
    parser.add_argument(
        "--group-by",
        default=GroupBy.SERVICE.value,
        choices=[group.value for group in GroupBy],
        help="what a node stands for [service]",
    )
    parser.add_argument("--focus", metavar="ID", help="only what is near this node")
    parser.add_argument("--depth", type=int, default=1, help="calls to go from --focus, 1..20 [1]")
    parser.add_argument(
        "--format", default="table", choices=GRAPH_FORMATS, help="json is the body of GET /v1/graph"
    )
    _add_settings(parser, ["", "store"], also=["api_token_file"])
    parser.set_defaults(prepare=_prepare_graph)


def _prepare_graph(asked: argparse.Namespace, settings: Settings) -> Callable[[], int]:
    from api import graph_command as command  # noqa: PLC0415
    from api.parameters import DEEPEST  # noqa: PLC0415

    if not 1 <= asked.depth <= DEEPEST:
        raise InvalidInput("--depth", found=asked.depth, allowed=f"1..{DEEPEST}")
    if asked.url is not None and hasattr(asked, "set_data"):
        raise InvalidInput("--url", found=asked.url, allowed="--data or --url, not both")
    query = command.Asked.checked(
        start=asked.start,
        end=asked.end,
        group_by=asked.group_by,
        focus=asked.focus,
        depth=asked.depth,
    )
    token = settings.api.bearer_token()

    def shown() -> int:
        if asked.url is None:
            body = command.from_data(settings, query)
        else:
            body = command.from_url(asked.url, token, query)
        command.show(body, asked.format)
        return DONE

    return shown


def _add_demo(parser: Parser) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where to keep what is stored [removed at the end]"
    )
    parser.add_argument("--api-port", type=int, default=8080, help="port of the API [8080]")
    parser.add_argument(
        "--otlp-grpc-port", type=int, default=4317, help="port for the proxies' telemetry [4317]"
    )
    parser.add_argument("--duration", type=float, help="seconds of load [until Ctrl-C]")
    parser.set_defaults(prepare=_prepare_demo)


def _prepare_demo(asked: argparse.Namespace, _: Settings) -> Callable[[], int]:
    from api import demo  # noqa: PLC0415

    return lambda: _run_loop(
        demo.run(
            asked.data,
            api_port=asked.api_port,
            otlp_grpc_port=asked.otlp_grpc_port,
            duration=asked.duration,
        )
    )


def _run_loop(work: Coroutine[Any, Any, int]) -> int:
    import uvloop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


COMMANDS: Final[dict[str, tuple[Callable[[Parser], None], str]]] = {
    "up": (_add_up, "Run everything in one process: receivers, store, analysis and HTTP API."),
    "import": (_add_import, "Read recordings into the store and compute the graph."),
    "graph": (_add_graph, "Show who calls whom, from a data directory or a running Meshweir."),
    "demo": (_add_demo, "Run a real Envoy mesh on loopback with Meshweir beside it."),
}
"""Every command: what adds its arguments, and what it does in one sentence."""
