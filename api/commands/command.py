"""What all commands share: their parser, flags made of settings, exit codes, the event loop."""

import argparse
import asyncio
import difflib
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NoReturn

from api.settings import Setting, Settings, declared

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130

SECTIONS: Final = {
    "": "process",
    "api": "HTTP API",
    "collectors": "receivers",
    "bus": "embedded bus",
    "kafka": "Kafka, instead of the embedded bus",
    "ingest": "ingest",
    "analysis": "analysis",
    "store": "store",
    "identity": "identity",
}
"""Every section of settings, and its title in ``--help``."""

METAVARS: Final = {"kafka": "HOST:PORT[,...]"}
"""What stands for the value in ``--help``, where the field's name says too little."""

Prepared = Callable[[], int]
"""The work of a command whose arguments are right; returns the exit code."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: the word after ``meshweir``.
        summary: what it does, in one sentence.
        add: adds its arguments to its parser.
        prepare: checks what was asked, and gives the work; raises InvalidInput.
        words: what stands after the options in its usage line.
        defaults: defaults of settings that are this command's own, by key.
    """

    name: str
    summary: str
    add: Callable[[Parser], None]
    prepare: Callable[[argparse.Namespace, Settings], Prepared]
    words: str = ""
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def usage(self) -> str:
        """Its usage line."""
        return " ".join(filter(None, ("meshweir", self.name, "[options]", self.words)))


def add_settings(
    parser: Parser, names: Collection[str], *, defaults: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Add flags for settings, named by section or singly by key.

    ``defaults`` are shown where a command has its own.
    """
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings [MESHWEIR_CONFIG]")
    wanted = [one for one in declared() if one.section in names or one.key in names]
    for section, title in SECTIONS.items():
        group = parser.add_argument_group(title)
        for setting in wanted:
            if setting.section == section and setting.flag is not None:
                _add_flag(group, setting, defaults.get(setting.key, setting.default))


def _add_flag(group: argparse._ArgumentGroup, setting: Setting, default: str) -> None:
    assert setting.flag is not None  # noqa: S101 - who calls has asked
    told = f"; {default}" if default else ""
    text = f"{setting.field.description} [{setting.variable}{told}]"
    group.add_argument(
        setting.flag,
        dest=f"set_{setting.key}",
        metavar=METAVARS.get(setting.key, setting.path[-1].upper()),
        default=argparse.SUPPRESS,
        help=text.replace("%", "%%"),
    )


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run work that needs an event loop; returns its exit code."""
    import uvloop  # noqa: PLC0415 - other commands need not pay for it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
