"""The page of tables says what the code declares."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.model.table import Table
from pipeline.model.tables import DERIVED, INTERNED, QUARANTINE, RAW
from pipeline.store.schema import BOOKKEEPING

PAGE = Path(__file__).parents[3] / "docs" / "tables.md"

INTRODUCTION = """\
# Tables

Written from `pipeline/model/tables.py`, and for the store's own books from
`pipeline/store/schema.py`; `make golden` rewrites this page. Raw and derived tables
also have the column `slice`, the number of the store commit that wrote the row. Promoted columns
carry the names of OpenTelemetry's semantic conventions with `_` for `.`; whatever is not promoted
stays in `attributes`. Times are UTC. Any column may be null, which means not known. A replay puts
other rows in the place of a slice's, under the same number (`docs/replay.md`).

The view `requests` shows every span of kind server, client, producer or consumer and every access
log entry of a whole request as one request seen by one reporter.
"""


def page() -> str:
    """The whole page."""
    groups = {
        "Raw, as received": RAW,
        "Interned, written once": INTERNED,
        "Derived, recomputed at any time": DERIVED,
        "Set aside": (QUARANTINE,),
        "The store's own books": BOOKKEEPING,
    }
    lines = [INTRODUCTION]
    for title, tables in groups.items():
        lines.append(f"\n## {title}\n")
        for table in tables:
            lines += section(table)
    return "\n".join(lines) + "\n"


def section(table: Table) -> Iterator[str]:
    """One table."""
    yield f"\n### `{table.name}`\n\nA row is {table.row}.\n"
    yield "| column | kind | meaning |\n|---|---|---|"
    for column in table:
        yield f"| `{column.name}` | {column.kind} | {column.meaning} |"


def test_the_page_of_tables_is_true(golden):
    golden.check(PAGE, page())
