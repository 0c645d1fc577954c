"""Settings of the embedded bus; all sizes are bytes."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

Size = Annotated[int, Field(ge=0)]


class EmbeddedBusSettings(BaseModel):
    """How much the embedded bus may hold, for how long, and when it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: Annotated[int, Field(ge=64 * KIB)] = Field(
        default=4 * GIB,
        description="Bytes of messages that were not yet consumed; past it the bus refuses.",
    )
    pace_bytes: Size = Field(
        default=32 * MIB,
        description="Bytes not yet consumed past which senders are answered later, to slow them.",
    )
    pace_seconds: Annotated[float, Field(ge=0)] = Field(
        default=1.0,
        description="How much later at most; 0 answers at once, however much waits.",
    )
    max_message_bytes: Size = Field(
        default=80 * MIB, description="Largest message, headers included."
    )
    max_waiting_bytes: Size = Field(
        default=192 * MIB, description="Bytes in memory that wait to be written and synced."
    )
    max_group_bytes: Size = Field(
        default=32 * MIB, description="Bytes written and synced in one transaction, about."
    )
    retention_bytes: Size = Field(
        default=1 * GIB, description="Bytes of consumed messages kept for replay."
    )
    retention_seconds: Annotated[float, Field(ge=0)] = Field(
        default=24 * 3600.0, description="Age past which consumed messages are deleted."
    )
    retry_after_seconds: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="When a refused publisher is told to come back."
    )
    min_free_bytes: Size = Field(
        default=256 * MIB,
        description="Free space on the disk below which nothing more is taken; 0 turns this off.",
    )
