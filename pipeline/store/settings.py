"""Settings of the store; sizes are bytes, ages and limits are seconds."""

import os
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024
DAY = 24 * 3600.0


class Backend(StrEnum):
    """Where rows are kept."""

    FILE = "file"
    DUCKLAKE = "ducklake"


class StoreSettings(BaseModel):
    """Where rows are kept, for how long, and what a question may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    backend: Backend = Field(
        default=Backend.FILE,
        strict=False,
        description="file: one DuckDB file, one process. ducklake: Parquet files and a catalog in"
        " SQLite, several processes.",
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
