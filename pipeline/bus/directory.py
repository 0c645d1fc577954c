"""The directory of a bus: held by one process, its entries synced, on a disk that may be full."""

import fcntl
import os
from io import TextIOWrapper
from pathlib import Path

from pipeline.errors import BusUnavailable


def lock_directory(directory: Path) -> TextIOWrapper:
    """Hold a directory until the file that is returned is closed, or the process ends.

    Raises:
        BusUnavailable: another process holds it; says which.
    """
    file = (directory / "bus.lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise BusUnavailable(
            f"{directory}: already in use by pid {owner}; "
            "stop that process, or give this one another directory"
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def sync_directory(path: Path) -> None:
    """Make the entries of a directory outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_full(directory: Path, free: int) -> BusUnavailable:
    """The error for a disk without room; ``free`` is in bytes."""
    return BusUnavailable(
        f"{directory}: the disk is full ({free} bytes free); make room on it, "
        "telemetry is taken again as soon as there is some",
        retry_after=10.0,
    )
