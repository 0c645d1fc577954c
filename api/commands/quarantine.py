"""``meshweir quarantine list|show|retry``."""

import argparse
import sys
from collections.abc import Callable
from typing import Final

from api.commands.command import DONE, Command, Parser, Prepared, add_settings, run_loop
from api.settings import Settings
from pipeline.errors import InvalidInput

FORMATS: Final = ("table", "json")


def _add(parser: Parser) -> None:
    places = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", prog=f"meshweir {COMMAND.name}"
    )
    for name, (add, _, summary) in ACTIONS.items():
        add(places.add_parser(name, help=summary, description=summary, allow_abbrev=False))


def _prepare(asked: argparse.Namespace, settings: Settings) -> Prepared:
    _, prepare, _ = ACTIONS[asked.action]
    return prepare(asked, settings)


def _add_list(parser: Parser) -> None:
    parser.add_argument("--limit", type=int, default=100, help="entries to show at most [100]")
    parser.add_argument("--reason", help="only what was set aside for this reason")
    parser.add_argument(
        "--format",
        default="table",
        choices=FORMATS,
        help="json is the body of GET /v1/quarantine",
    )
    _add_source(parser)


def _prepare_list(asked: argparse.Namespace, settings: Settings) -> Prepared:
    from api import quarantine_command as command  # noqa: PLC0415 - not before it is asked for
    from api.quarantine import QuarantineQuery  # noqa: PLC0415 - likewise

    if not 1 <= asked.limit <= 10_000:
        raise InvalidInput("--limit", found=asked.limit, allowed="1..10000")
    query = QuarantineQuery(reason=asked.reason)
    body = _source(asked, settings)

    def listed() -> int:
        told = body(query, asked.limit)
        if asked.format == "json":
            sys.stdout.buffer.write(told)
        else:
            sys.stdout.write(command.table(told))
        sys.stdout.flush()
        return DONE

    return listed


def _add_show(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help="as list shows it: topic/partition/offset")
    _add_source(parser)


def _prepare_show(asked: argparse.Namespace, settings: Settings) -> Prepared:
    from api import quarantine_command as command  # noqa: PLC0415 - not before it is asked for
    from api.quarantine import PAYLOADS_PER_PAGE, QuarantineQuery  # noqa: PLC0415 - likewise

    query = QuarantineQuery(id=asked.id, payload=True)
    body = _source(asked, settings)

    def shown() -> int:
        told = body(query, PAYLOADS_PER_PAGE)
        sys.stdout.write(command.details(told, asked.id))
        return DONE

    return shown


def _add_retry(parser: Parser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="as list shows them")
    parser.add_argument("--all", action="store_true", help="everything that is set aside")
    parser.add_argument("--reason", help="only what was set aside for this reason")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    add_settings(parser, ["", "bus", "kafka", "ingest", "store"])


def _prepare_retry(asked: argparse.Namespace, settings: Settings) -> Prepared:
    from api import quarantine_command as command  # noqa: PLC0415 - not before it is asked for

    if bool(asked.ids) == asked.all:
        raise InvalidInput("ID", found=" ".join(asked.ids), allowed="ids, or --all, one of them")

    async def retried() -> int:
        done, settled = await command.try_again(settings, asked.ids or None, asked.reason)
        if asked.json:
            sys.stdout.buffer.write(command.retried_answer(done, settled=settled))
        else:
            sys.stdout.write(command.retried_summary(done, settled=settled))
        sys.stdout.flush()
        return DONE

    return lambda: run_loop(retried())


def _add_source(parser: Parser) -> None:
    parser.add_argument("--url", help="a running Meshweir, such as http://127.0.0.1:8080")
    add_settings(parser, ["", "store", "api_token_file"])


def _source(asked: argparse.Namespace, settings: Settings) -> Callable[..., bytes]:
    """What gives the body of the list: a data directory, or a running Meshweir."""
    from api import quarantine_command as command  # noqa: PLC0415 - not before it is asked for

    if asked.url is None:
        return lambda query, limit: command.from_data(settings, query, limit=limit)
    if hasattr(asked, "set_data"):
        raise InvalidInput("--url", found=asked.url, allowed="--data or --url, not both")
    token = settings.api.bearer_token()
    return lambda query, limit: command.from_url(asked.url, token, query, limit=limit)


Action = tuple[Callable[[Parser], None], Callable[[argparse.Namespace, Settings], Prepared], str]

ACTIONS: Final[dict[str, Action]] = {
    "list": (_add_list, _prepare_list, "List what was set aside, youngest first."),
    "show": (_add_show, _prepare_show, "Show why a message was set aside, and its bytes there."),
    "retry": (_add_retry, _prepare_retry, "Decode messages again that were set aside."),
}
"""Every action: what adds its arguments, what prepares it, and what it does."""

COMMAND = Command(
    name="quarantine",
    summary="List, show and retry what could not be decoded.",
    add=_add,
    prepare=_prepare,
    words="list|show|retry",
)
