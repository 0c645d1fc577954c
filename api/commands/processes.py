"""``meshweir up``, and its parts as processes of their own: ``collect``, ``process``, ``serve``."""

import argparse
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from api.commands.command import Command, Parser, Prepared, add_settings, run_loop
from api.role import ROLES, Role
from api.settings import Settings


def _command(role: Role) -> Command:
    defaults: Mapping[str, str] = MappingProxyType({"api_address": role.api_address})

    def add(parser: Parser) -> None:
        add_settings(parser, role.settings, defaults=defaults)

    def prepare(_: argparse.Namespace, settings: Settings) -> Prepared:
        from api.configured import Configured  # noqa: PLC0415 - not before it is asked for
        from api.lifetime import live  # noqa: PLC0415 - likewise
        from api.process import running  # noqa: PLC0415 - likewise

        role.check(settings)
        configured = Configured.of(role, settings)
        return lambda: run_loop(live(running(role, settings, configured), sys.stdout))

    return Command(
        name=role.name, summary=role.summary, add=add, prepare=prepare, defaults=defaults
    )


COMMANDS: Final = tuple(_command(role) for role in ROLES)
"""A command for each role."""
