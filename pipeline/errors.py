"""The tree of errors: where a class hangs says what its caller should do.

    MeshweirError
    ├── Permanent                 trying again cannot help: refuse it, or set it aside
    │   ├── DecodeError           bytes that are not what their format says; names the byte offset
    │   ├── InvalidInput          a parameter, flag or setting; names field, found and allowed
    │   ├── MessageTooLarge       over a stated limit
    │   └── StoreIncompatible     a store written by a newer version, or by something else
    └── Transient                 the same call may succeed later
        ├── BusFull               the bus holds all it may hold; says when to come back
        ├── BusUnavailable        the broker or the disk does not answer
        ├── PartitionsMoved       other partitions are this reader's now
        └── StoreBusy             another writer was faster, or holds the lock

Errors are raised where the reason is known and translated to HTTP or gRPC once, at the edge.
"""


class MeshweirError(Exception):
    """Anything that Meshweir itself refuses or fails at."""


class Permanent(MeshweirError):
    """Trying the same thing again cannot succeed."""


class Transient(MeshweirError):
    """The same call may succeed later; ``retry_after`` is a hint in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DecodeError(Permanent):
    """Bytes that do not follow their format.

    Attributes:
        reason: what is wrong, in a few words that can be counted (no ids, no offsets).
        offset: index of the first byte that could not be accepted, or None where unknown.
        format: the name of the format that was expected.
    """

    def __init__(self, reason: str, *, offset: int | None = None, format: str = "") -> None:
        self.reason = reason
        self.offset = offset
        self.format = format
        where = "" if offset is None else f" at byte {offset}"
        what = f"{format}: " if format else ""
        super().__init__(f"{what}{reason}{where}")


class InvalidInput(Permanent):
    """A value given by a user that is not allowed.

    Attributes:
        field: the parameter, flag or key at fault.
        found: what was given.
        allowed: what would have been accepted, in words.
    """

    def __init__(self, field: str, *, found: object, allowed: str) -> None:
        self.field = field
        self.found = found
        self.allowed = allowed
        super().__init__(f"{field}: found {found!r}, allowed: {allowed}")


class MessageTooLarge(Permanent):
    """A message over a stated limit; both sizes are bytes."""

    def __init__(self, *, size: int, limit: int, what: str = "message") -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"{what} is larger than the limit of {limit} bytes (saw {size})")


class StoreIncompatible(Permanent):
    """A store that this version cannot open; the message says what to do."""


class BusFull(Transient):
    """The bus holds all the bytes it may hold. Nothing was taken."""


class BusUnavailable(Transient):
    """The broker or the disk does not answer. Nothing was acknowledged."""


class PartitionsMoved(Transient):
    """Other partitions are this reader's now: ask the store where each of them stands."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=0.0)


class StoreBusy(Transient):
    """Another writer was faster or holds the lock. Nothing was written."""
