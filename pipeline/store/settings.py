"""Settings of the store; sizes are bytes, ages and limits are seconds."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pipeline.errors import InvalidInput

MIB = 1024 * 1024
DAY = 24 * 3600.0

POSTGRES: Final = "postgres:"
"""How a catalog in PostgreSQL begins; libpq's words follow."""


class Backend(StrEnum):
    """Where rows are kept."""

    AUTO = "auto"
    FILE = "file"
    DUCKLAKE = "ducklake"


class StoreSettings(BaseModel):
    """Where rows are kept, for how long, and what a question may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    backend: Backend = Field(
        default=Backend.AUTO,
        strict=False,
        description="file: one DuckDB file, one process. ducklake: Parquet files and a catalog,"
        " several processes. auto: what the data directory holds, else what the command needs.",
    )
    catalog: str = Field(
        default="",
        description="DuckLake's catalog: empty for SQLite in the data directory, or"
        " postgres:host=... dbname=... user=... (libpq's words).",
    )
    catalog_password: SecretStr | None = Field(
        default=None, description="Password for the catalog in PostgreSQL."
    )
    catalog_password_file: Path | None = Field(
        default=None, description="File that holds that password, instead of the password itself."
    )
    memory_limit_bytes: Annotated[int, Field(ge=64 * MIB)] = Field(
        default=640 * MIB, description="Memory DuckDB may use before it spills to disk."
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 4),
        description="Threads DuckDB may use at once.",
    )
    time_limit_seconds: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="Time after which a question is interrupted."
    )
    raw_age_seconds: Annotated[float, Field(gt=0)] = Field(
        default=7 * DAY, description="Age past which raw rows are deleted, counted from arrival."
    )
    derived_age_seconds: Annotated[float, Field(gt=0)] = Field(
        default=400 * DAY,
        description="Age past which minutes of the graph are deleted, once their raw rows are.",
    )
    quarantine_age_seconds: Annotated[float, Field(gt=0)] = Field(
        default=30 * DAY, description="Age past which quarantined messages are deleted."
    )
    quarantine_rows: Annotated[int, Field(ge=0)] = Field(
        default=10_000, description="Quarantined messages kept at most; the youngest stay."
    )
    snapshot_age_seconds: Annotated[float, Field(ge=60)] = Field(
        default=600.0,
        description="DuckLake: how long replaced rows stay for questions still under way.",
    )
    orphan_age_seconds: Annotated[float, Field(ge=600)] = Field(
        default=DAY, description="DuckLake: age past which files of broken-off writes are deleted."
    )
    compact_seconds: Annotated[float, Field(gt=0)] = Field(
        default=15.0, description="DuckLake: pause between two rounds of merging small files."
    )
    retire_seconds: Annotated[float, Field(gt=0)] = Field(
        default=600.0, description="Pause between two looks at what is past its age."
    )

    @field_validator("catalog")
    @classmethod
    def _known_catalog(cls, catalog: str) -> str:
        if catalog and not catalog.startswith(POSTGRES):
            raise ValueError("empty, or postgres: and libpq's words (host=... dbname=...)")
        return catalog

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.catalog_password is not None and self.catalog_password_file is not None:
            raise ValueError("store_catalog_password or store_catalog_password_file, not both")
        return self

    def password(self) -> str | None:
        """The catalog's password, or None where PostgreSQL's own ways give it (PGPASSWORD, pgpass).

        Raises:
            InvalidInput: the password's file cannot be read.
        """
        if self.catalog_password is not None:
            return self.catalog_password.get_secret_value()
        if self.catalog_password_file is None:
            return None
        try:
            return self.catalog_password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise InvalidInput(
                "store_catalog_password_file",
                found=str(self.catalog_password_file),
                allowed=f"a text file: {problem}",
            ) from problem
