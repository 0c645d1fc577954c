"""``meshweir replay``."""

import argparse
import sys
from datetime import UTC, datetime

from api.commands.command import DONE, Command, Parser, Prepared, add_settings, run_loop
from api.settings import Settings
from pipeline.errors import InvalidInput


def _add(parser: Parser) -> None:
    parser.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        required=True,
        help="begin: RFC 3339, -1h, Unix seconds; when the bus stored the messages",
    )
    parser.add_argument(
        "--to", dest="until", metavar="TIME", default="now", help="end, exclusive; likewise [now]"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    add_settings(parser, ["", "bus", "kafka", "ingest", "store"])


def _prepare(asked: argparse.Namespace, settings: Settings) -> Prepared:
    from api import replaying  # noqa: PLC0415 - not before it is asked for
    from api.times import parse_time  # noqa: PLC0415 - likewise

    now = datetime.now(UTC)
    since = parse_time(asked.since, now=now, field="--from")
    until = parse_time(asked.until, now=now, field="--to")
    if since >= until:
        raise InvalidInput("--from", found=asked.since, allowed="before --to")

    async def replayed() -> int:
        done = await replaying.replay(settings, since=since, until=until)
        if asked.json:
            sys.stdout.buffer.write(replaying.answer(done))
        else:
            sys.stdout.write(replaying.summary(done))
        sys.stdout.flush()
        return DONE

    return lambda: run_loop(replayed())


COMMAND = Command(
    name="replay",
    summary="Decode messages of a time again, in the place of what they gave before.",
    add=_add,
    prepare=_prepare,
)
