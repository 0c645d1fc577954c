"""Numbers that stand for words where columns are compiled over."""

from typing import Final

UNSPECIFIED: Final = 0
SERVER: Final = 2
CLIENT: Final = 3
PRODUCER: Final = 4
CONSUMER: Final = 5
"""OpenTelemetry span kinds; 1, internal, tells of no call unless the service changes."""

ROOT: Final = -1
MISSING: Final = -2
"""In the place of a row: there is no parent, or it was not received."""

OUTBOUND: Final = 1
INBOUND: Final = 2
"""What a proxy's own words say of the direction of a span; 0 when they say nothing."""

SERVER_SIDE: Final = 1
CLIENT_SIDE: Final = 2
PRODUCES: Final = 3
CONSUMES: Final = 4
"""From which side a span tells of a call; 0 when it tells of none."""
