"""``meshweir import``."""

import argparse
import sys
from pathlib import Path

from api.commands.command import DONE, FAILED, Command, Parser, Prepared, add_settings, run_loop
from api.settings import Settings
from pipeline.errors import InvalidInput


def _add(parser: Parser) -> None:
    from collectors.formats import AUTO, FORMATS  # noqa: PLC0415 - not before it is asked for

    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings to read")
    parser.add_argument(
        "--format", default=AUTO, help=f"{AUTO} (default), or one of: {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--json", action="store_true", help="print what became of each file as JSON"
    )
    # not offered, but refused with the reason; empty it undoes what file or environment say
    parser.add_argument(
        "--kafka", dest="set_kafka", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    add_settings(parser, ["", "bus", "ingest", "store"])


def _prepare(asked: argparse.Namespace, settings: Settings) -> Prepared:
    from api import importing  # noqa: PLC0415 - not before it is asked for
    from collectors.formats import known  # noqa: PLC0415 - likewise

    form = known(asked.format)
    if settings.kafka.bootstrap_servers:
        raise InvalidInput(
            "kafka",
            found=",".join(settings.kafka.bootstrap_servers),
            allowed="none: recordings go straight into a store that Kafka does not feed; "
            'say --kafka "" to import into one, or post OTLP to meshweir collect',
        )

    async def imported() -> int:
        reports = await importing.import_recordings(settings, asked.files, format=form)
        if asked.json:
            sys.stdout.buffer.write(importing.answer(reports))
        else:
            sys.stdout.write(importing.summary(reports))
        sys.stdout.flush()
        return FAILED if any(report.error for report in reports) else DONE

    return lambda: run_loop(imported())


COMMAND = Command(
    name="import",
    summary="Read recordings into the store and compute the graph.",
    add=_add,
    prepare=_prepare,
    words="FILE...",
)
