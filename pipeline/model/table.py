"""What a table is: its columns, and what Arrow and DuckDB call their kinds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

Kind = Literal[
    "u8", "u16", "u32", "u64", "i16", "i32", "i64", "f64", "bool",
    "text", "json", "time", "u64[]", "f64[]", "i16[]", "i64[]",
]  # fmt: skip

ARROW: Final[dict[Kind, pa.DataType]] = {
    "u8": pa.uint8(), "u16": pa.uint16(), "u32": pa.uint32(), "u64": pa.uint64(),
    "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(), "f64": pa.float64(),
    "bool": pa.bool_(), "text": pa.string(), "json": pa.string(), "time": pa.timestamp("ns"),
    "u64[]": pa.list_(pa.uint64()), "f64[]": pa.list_(pa.float64()),
    "i16[]": pa.list_(pa.int16()), "i64[]": pa.list_(pa.int64()),
}  # fmt: skip

DUCKDB: Final[dict[Kind, str]] = {
    "u8": "UTINYINT", "u16": "USMALLINT", "u32": "UINTEGER", "u64": "UBIGINT",
    "i16": "SMALLINT", "i32": "INTEGER", "i64": "BIGINT", "f64": "DOUBLE",
    "bool": "BOOLEAN", "text": "VARCHAR", "json": "VARCHAR", "time": "TIMESTAMP_NS",
    "u64[]": "UBIGINT[]", "f64[]": "DOUBLE[]", "i16[]": "SMALLINT[]", "i64[]": "BIGINT[]",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its kind, and what it means (units included)."""

    name: str
    kind: Kind
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table: what a row is, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    def __iter__(self) -> Iterator[Column]:
        """The columns, in order."""
        return iter(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of a batch of rows; every column is nullable."""
        return pa.schema([(column.name, ARROW[column.kind]) for column in self.columns])
