"""Golden files: compare with what is written down, or write it down anew."""

from pathlib import Path

import pytest


class Golden:
    """Compares texts with files; with ``--update-golden`` it writes the files instead."""

    def __init__(self, *, update: bool) -> None:
        self._update = update

    def check(self, path: Path, found: str) -> None:
        """Fail when ``found`` is not, byte for byte, what ``path`` holds."""
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"{path} does not exist; look at what --update-golden would write")
        expected = path.read_text(encoding="utf-8")
        assert found == expected, f"differs from {path}; --update-golden rewrites it"
