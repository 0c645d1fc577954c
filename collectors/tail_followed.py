"""A file that is followed: what of it is kept, and whether nobody writes to it any more."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from collectors.tail_file import TailedFile
from collectors.tail_places import Place


class Quiet(NamedTuple):
    """How a file was found whose name is gone.

    Attributes:
        size: how large.
        since: the first look at which it was that large, seconds.
        until: the last look, seconds.
    """

    size: int
    since: float
    until: float


@dataclass(slots=True)
class Followed:
    """A file that is followed.

    Attributes:
        file: the file and its place.
        quiet: how the last looks found it; None while it has a name.
        kept: the place as it is kept.
    """

    file: TailedFile
    quiet: Quiet | None = None
    kept: Place | None = None

    def seen(self, path: Path) -> None:
        """A look found it by that name."""
        self.quiet = None
        self.file.place = replace(self.file.place, path=str(path))

    def missed(self, now: float) -> None:
        """A look did not find its name; ``now`` is the time of the look, seconds."""
        size, quiet = self.file.size, self.quiet
        since = quiet.since if quiet and quiet.size == size else now
        self.quiet = Quiet(size, since, now)

    def is_over(self, seconds: float) -> bool:
        """Whether nobody writes on: it did not grow from look to look for so long.

        What was read while this was so is the last of it. Asked again a moment later the answer may
        be another, so ask once, before reading.
        """
        quiet = self.quiet
        if quiet is None or quiet.until - quiet.since < seconds:
            return False
        return self.file.size == quiet.size
