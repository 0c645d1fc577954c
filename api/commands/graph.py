"""``meshweir graph``."""

import argparse
from typing import Final

from api.commands.command import DONE, Command, Parser, Prepared, add_settings
from api.settings import Settings
from pipeline.errors import InvalidInput
from pipeline.model.topology import GroupBy

FORMATS: Final = ("table", "json", "mermaid", "dot")


def _add(parser: Parser) -> None:
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
        "--format", default="table", choices=FORMATS, help="json is the body of GET /v1/graph"
    )
    add_settings(parser, ["", "store", "identity", "api_token_file"])


def _prepare(asked: argparse.Namespace, settings: Settings) -> Prepared:
    from api import graph_command as command  # noqa: PLC0415 - not before it is asked for
    from api.parameters import DEEPEST  # noqa: PLC0415 - likewise

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


COMMAND = Command(
    name="graph",
    summary="Show who calls whom, from a data directory or a running Meshweir.",
    add=_add,
    prepare=_prepare,
)
