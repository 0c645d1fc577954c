"""Room for requests under way: a bound on the bytes that all receivers hold at once."""

from types import TracebackType
from typing import Self

from pipeline.errors import Transient


class NoRoom(Transient):
    """Too many bytes are under way; nothing was taken."""

    reason = "too much under way"


class Room:
    """A number of bytes shared by all requests under way; for one event loop.

    Args:
        limit: bytes in all.
        retry_after: seconds after which a sender that met no room should come back.
    """

    def __init__(self, limit: int, *, retry_after: float) -> None:
        self.limit = limit
        self.used = 0
        self._retry_after = retry_after

    def claim(self) -> "Claim":
        """An empty claim; use it in a ``with`` statement, which gives all of it back."""
        return Claim(self)

    def take(self, size: int, *, held: int) -> None:
        """Take ``size`` bytes for a request that holds ``held``.

        Raises NoRoom past the limit, unless nothing else is under way: then it would never fit.
        """
        if self.used > held and self.used + size > self.limit:
            raise NoRoom(
                f"{self.used} bytes of requests are under way already",
                retry_after=self._retry_after,
            )
        self.used += size


class Claim:
    """What one request holds of the room."""

    __slots__ = ("_room", "_size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0

    def grow(self, size: int) -> None:
        """Hold ``size`` bytes more; raises NoRoom."""
        self._room.take(size, held=self._size)
        self._size += size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._room.used -= self._size
        self._size = 0
