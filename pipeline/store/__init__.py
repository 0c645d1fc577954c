"""The store: one writer, many readers; committed rows, and answers to named questions."""

from pathlib import Path

from pipeline.store.port import Rewritten, Store, Unit
from pipeline.store.settings import Backend, StoreSettings

__all__ = ["Backend", "Rewritten", "Store", "StoreSettings", "Unit", "open_store"]


def open_store(
    directory: Path,
    settings: StoreSettings | None = None,
    *,
    prefer: Backend = Backend.FILE,
    read_only: bool = False,
) -> Store:
    """Open the store in ``directory``, making or upgrading it where needed.

    Args:
        directory: the data directory.
        settings: of the store.
        prefer: where a new store is made when the settings leave it open (``Backend.AUTO``).
        read_only: only read; make and upgrade nothing.

    Raises:
        StoreBusy: another process holds it, its catalog does not answer, or, for a reader, it is
            not made yet.
        StoreIncompatible: a newer version or another program wrote it, or it is damaged; for a
            reader also, an older version wrote it.
        InvalidInput: the directory cannot be used, or the backend is not installed.
    """
    # importing DuckDB takes a quarter of a second that other commands need not pay
    from pipeline.store.duck import DuckStore  # noqa: PLC0415

    return DuckStore(directory, settings or StoreSettings(), prefer=prefer, read_only=read_only)
