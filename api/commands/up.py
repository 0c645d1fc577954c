"""``meshweir up``."""

import argparse
import sys

from api.commands.command import SECTIONS, Command, Parser, Prepared, add_settings, run_loop
from api.settings import Settings


def _add(parser: Parser) -> None:
    add_settings(parser, list(SECTIONS))


def _prepare(_: argparse.Namespace, settings: Settings) -> Prepared:
    from api.up import up  # noqa: PLC0415 - not before it is asked for

    settings.api.bearer_token()
    return lambda: run_loop(up(settings, sys.stdout))


COMMAND = Command(
    name="up",
    summary="Run everything in one process: receivers, store, analysis and HTTP API.",
    add=_add,
    prepare=_prepare,
)
