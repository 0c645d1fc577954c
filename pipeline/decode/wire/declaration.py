"""Declarations: which bytes of a protobuf format become which cells of which rows.

A format is a dictionary of message types, each a dictionary of field numbers. Where a field has an
entry, the walk does what the entry says; where it has none, the field is skipped with its structure
checked as protobuf does. **Every field that is a message must have an entry**, if only
``Check(message)``, because the official parser looks inside and refuses what is broken there.

``compile_plan`` turns the dictionary into the integers that ``pipeline.decode.wire.loop`` walks by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from pipeline.decode.kernels.kernel import Ints

Kind = Literal[
    "bytes", "bool", "int32", "uint32", "int64", "sint32", "sint64",
    "fixed32", "sfixed32", "fixed64",
]  # fmt: skip
"""How a scalar is written. Enums are ``int32``, strings ``bytes``, ``uint64`` is ``int64``, doubles
and ``sfixed64`` are ``fixed64`` (the cell holds the 64 bits), floats ``fixed32`` (the 32 bits).
"""


@dataclass(frozen=True, slots=True)
class Store:
    """Put a scalar into a cell of the current row.

    Attributes:
        kind: how it is written. The cell of ``bytes`` holds offset and length, see ``wire.Rows``.
        cell: name of the cell.
        case: of a oneof: the cell that is to hold which alternative was told last.
        told: what the case cell is set to; by default the field number.
    """

    kind: Kind
    cell: str
    case: str = ""
    told: int = 0


@dataclass(frozen=True, slots=True)
class Enter:
    """Go into a submessage that is part of the current row; told twice, both parts count.

    With a ``cell``, that cell's presence tells that the submessage was there.
    """

    message: str
    cell: str = ""
    case: str = ""
    told: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """Begin a row with every occurrence of a submessage.

    Attributes:
        message: its type.
        table: name of the table that gets the row; "" for the table of the enclosing row, whose
            rows then form a tree (an AnyValue inside an AnyValue).
        raw: cell that is to hold where the submessage's own bytes are; "" for none.
        least: bytes that a sensible message of this type has; bounds how many rows there can be.
    """

    message: str
    table: str = ""
    raw: str = ""
    least: int = 0


@dataclass(frozen=True, slots=True)
class Each:
    """Begin a row with every occurrence of a repeated scalar, packed or not.

    The cell ``items`` of the row holds where the encoded elements are: one string, or the bytes of
    one or several numbers as ``kind`` writes them.
    """

    kind: Kind
    table: str


@dataclass(frozen=True, slots=True)
class Check:
    """Go into a submessage only to see that it is well formed."""

    message: str


Action = Store | Enter | Row | Each | Check
Messages = Mapping[str, Mapping[int, Action]]

FIELDS: Final = 64
"""Fields with this number or a higher one are always skipped."""

PARENT, PRESENT, HEADER = 0, 1, 2
"""Cells that every row has, and how many these are."""

MAX_CELLS: Final = 63
"""Cells of a row at most, the two of the header included: their presence is bits of one cell."""

SKIP, ENTER, ROW, EACH = 0, 1, 2, 3
_FIRST_KIND: Final = 4
_KINDS: Final[tuple[Kind, ...]] = (
    "bytes", "bool", "int32", "uint32", "int64", "sint32", "sint64",
    "fixed32", "sfixed32", "fixed64",
)  # fmt: skip
OPERATION: Final = {kind: _FIRST_KIND + number for number, kind in enumerate(_KINDS)}
_WIRE_TYPE: Final = {"bytes": 2, "fixed32": 5, "sfixed32": 5, "fixed64": 1}

OPERATION_BITS, WIRE_BITS, CELL_BITS, NODE_BITS = 6, 3, 8, 16
CELL_AT: Final = OPERATION_BITS + WIRE_BITS
CASE_AT: Final = CELL_AT + CELL_BITS
TOLD_AT: Final = CASE_AT + CELL_BITS
TABLE_AT: Final = TOLD_AT + CELL_BITS
NODE_AT: Final = TABLE_AT + CELL_BITS
"""Where an instruction, one 64-bit integer, has its parts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled declaration.

    Attributes:
        instructions: for each node and field number what to do; node 0 skips everything, node 1 is
            the root. A node is a message type as it appears below one table.
        tables: names of the tables, in the order of their numbers.
        cells: for each table the position of every named cell in its rows.
        least: for each table how many bytes a row should have.
    """

    instructions: Ints
    tables: tuple[str, ...]
    cells: tuple[Mapping[str, int], ...]
    least: tuple[int, ...]


def compile_plan(root: str, messages: Messages) -> Plan:
    """Compile a declaration that starts at the message type ``root``."""
    return _Compiler(messages).compile(root)


class _Compiler:
    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._nodes: dict[tuple[str, str | None], int] = {}
        self._rows: list[list[int]] = [[0] * FIELDS]
        self._tables: dict[str, dict[str, int]] = {}
        self._least: dict[str, int] = {}
        self._waiting: list[tuple[str, str | None]] = []

    def compile(self, root: str) -> Plan:
        self._node(root, "")
        while self._waiting:
            message, table = self._waiting.pop()
            fields = self._rows[self._nodes[message, table]]
            for number, action in self._messages[message].items():
                if not 0 < number < FIELDS:
                    raise ValueError(f"{message}: field {number} is not below {FIELDS}")
                fields[number] = self._instruction(action, number, table)
        return Plan(
            np.array(self._rows, np.int64),
            tuple(self._tables),
            tuple(self._tables.values()),
            tuple(self._least.get(table, 0) for table in self._tables),
        )

    def _node(self, message: str, table: str | None) -> int:
        key = (message, table)
        if key not in self._nodes:
            self._nodes[key] = len(self._rows)
            self._rows.append([0] * FIELDS)
            self._waiting.append(key)
        return self._nodes[key]

    def _cell(self, table: str, name: str) -> int:
        if not name:
            return 0
        if not table:
            raise ValueError(f"cell {name}: the outermost message has no row")
        cells = self._tables.setdefault(table, {})
        cell = cells.setdefault(name, HEADER + len(cells))
        if cell >= MAX_CELLS:
            raise ValueError(f"table {table}: more than {MAX_CELLS} cells in a row")
        return cell

    def _number(self, table: str) -> int:
        self._tables.setdefault(table, {})
        return list(self._tables).index(table)

    def _instruction(self, action: Action, number: int, table: str | None) -> int:
        if table is None:
            return self._check(action)
        match action:
            case Store(kind, cell, case, told):
                wire_type = _WIRE_TYPE.get(kind, 0)
                return _pack(
                    OPERATION[kind],
                    wire_type,
                    cell=self._cell(table, cell),
                    case=self._cell(table, case),
                    told=told or number,
                )
            case Enter(message, cell, case, told):
                return _pack(
                    ENTER,
                    2,
                    cell=self._cell(table, cell),
                    case=self._cell(table, case),
                    told=told or number,
                    node=self._node(message, table),
                )
            case Row(message, inner, raw, least):
                inner = inner or table
                self._least[inner] = max(least, self._least.get(inner, 0))
                return _pack(
                    ROW,
                    2,
                    cell=self._cell(inner, raw),
                    table=self._number(inner),
                    node=self._node(message, inner),
                )
            case Each(kind, inner):
                return _pack(
                    EACH,
                    _WIRE_TYPE.get(kind, 0),
                    cell=self._cell(inner, "items"),
                    table=self._number(inner),
                )
            case Check(message):
                return _pack(ENTER, 2, node=self._node(message, None))

    def _check(self, action: Action) -> int:
        """What remains of an action where nothing is kept; ``Each`` without a cell makes no row."""
        match action:
            case Enter(message=message) | Row(message=message) | Check(message=message):
                return _pack(ENTER, 2, node=self._node(message, None))
            case Each(kind=kind):
                return _pack(EACH, _WIRE_TYPE.get(kind, 0))
            case Store():
                return 0


def _pack(
    operation: int,
    wire_type: int,
    *,
    cell: int = 0,
    case: int = 0,
    told: int = 0,
    table: int = 0,
    node: int = 0,
) -> int:
    return (
        operation
        | wire_type << OPERATION_BITS
        | cell << CELL_AT
        | case << CASE_AT
        | told << TOLD_AT
        | table << TABLE_AT
        | node << NODE_AT
    )
