"""Settings of the jobs that fill the store and analyse what is in it."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024


class IngestSettings(BaseModel):
    """How much goes into the store at once, and how many services there may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_bytes: Annotated[int, Field(ge=64 * 1024)] = Field(
        default=24 * MIB,
        description="Bytes read from the bus for one commit, about; some 70,000 spans.",
    )
    max_services: Annotated[int, Field(ge=1)] = Field(
        default=10_000,
        description="Distinct services; records of those past it are counted under one name.",
    )


class AnalysisSettings(BaseModel):
    """What the analysis is told beside the telemetry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    openapi_directory: Path | None = Field(
        default=None,
        description="Directory of OpenAPI documents, SERVICE.yaml or NAMESPACE/SERVICE.yaml (or "
        ".json), by which paths become routes.",
    )
