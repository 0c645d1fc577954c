"""The command ``meshweir``: reads arguments, calls one function, answers with an exit code.

0 done, 1 failed with a reason, 2 wrong usage, 130 after Ctrl-C. Logs go to stderr, results to
stdout.
"""

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from api.commands import demo, graph, imports, processes, quarantine, replay
from api.commands.command import FAILED, INTERRUPTED, WRONG_USAGE, Command, Parser
from api.settings import Settings, load, misspelt
from api.version import program_version
from pipeline.errors import InvalidInput, MeshweirError

log = logging.getLogger("meshweir")

COMMANDS: Final[dict[str, Command]] = {
    command.name: command
    for command in (
        *processes.COMMANDS,
        imports.COMMAND,
        replay.COMMAND,
        quarantine.COMMAND,
        graph.COMMAND,
        demo.COMMAND,
    )
}
"""Every command, in the order of ``--help``."""

TIMES: Final = frozenset({"--start", "--end", "--from", "--to"})
"""Options whose value is a time, which may begin with a minus."""


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
    parser, parsers = _parsers()
    asked, unknown = parser.parse_known_args(list(_with_times(arguments)))
    command = COMMANDS[asked.command]
    if unknown:
        parsers[command.name].refuse_unknown(unknown)
    prog = parsers[command.name].prog
    try:
        settings = _settings(asked, command)
        prepared = command.prepare(asked, settings)
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
        if word not in TIMES:
            yield word
        elif (time := next(words, None)) is not None and re.match(r"-\d", time):
            yield f"{word}={time}"
        else:
            yield word
            if time is not None:
                yield time


def _settings(asked: argparse.Namespace, command: Command) -> Settings:
    flags = {
        name.removeprefix("set_"): value
        for name, value in vars(asked).items()
        if name.startswith("set_")
    }
    config = getattr(asked, "config", None) or os.environ.get("MESHWEIR_CONFIG")
    return load(
        flags=flags,
        environment=os.environ,
        file=None if config is None else Path(config),
        defaults=command.defaults,
    )


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
    parsers = {}
    for name, command in COMMANDS.items():
        parsers[name] = places.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            usage=command.usage,
            allow_abbrev=False,
        )
        command.add(parsers[name])
    return parser, parsers
