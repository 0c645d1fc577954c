"""Where commands get answers from: a data directory, or a running Meshweir over HTTP."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from api.running import answering_at
from api.settings import Settings
from api.stores import is_shared
from pipeline.errors import InvalidInput, MeshweirError, StoreBusy
from pipeline.store import open_store
from pipeline.store.port import Store

TIMEOUT_SECONDS: Final = 60.0
LARGEST_ANSWER: Final = 1024 * 1024 * 1024


def must_exist(settings: Settings) -> None:
    """Refuse a data directory that is not there; raises MeshweirError."""
    if not settings.data.is_dir():
        raise MeshweirError(
            f"there is no data directory {settings.data}; name one with --data, or a running "
            "Meshweir with --url, where the command has that"
        )


@contextmanager
def opened(settings: Settings, command: str) -> Iterator[Store]:
    """The store of a data directory, to be read: a DuckDB file that nobody else holds, or DuckLake.

    Args:
        settings: where it is.
        command: what a running Meshweir can be asked instead, after ``meshweir``.

    Raises:
        MeshweirError: there is no such directory.
        StoreBusy: a running Meshweir holds it; says where that answers.
    """
    must_exist(settings)
    try:
        store = open_store(settings.data, settings.store, read_only=is_shared(settings))
    except StoreBusy as problem:
        url = answering_at(settings.data)
        where = f"; ask it: meshweir {command} --url {url}" if url else ""
        raise StoreBusy(f"{problem}{where}") from problem
    try:
        yield store
    finally:
        store.close()


Get = Callable[[str, Mapping[str, str]], bytes]
"""Gets the body of a path, asked with parameters."""


def client(url: str, token: str | None) -> Get:
    """Ask a running Meshweir.

    Raises:
        InvalidInput: it is no URL.

    What it returns raises MeshweirError: the Meshweir does not answer, or refuses.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise InvalidInput("--url", found=url, allowed="http://HOST:PORT or https://HOST:PORT")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def get(path: str, parameters: Mapping[str, str]) -> bytes:
        query = urllib.parse.urlencode(parameters)
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            f"{url.rstrip('/')}{path}{'?' if query else ''}{query}", headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - likewise
                body: bytes = answer.read(LARGEST_ANSWER)
        except urllib.error.HTTPError as refusal:
            raise MeshweirError(f"{url} answers {refusal.code}: {_detail(refusal)}") from refusal
        except (urllib.error.URLError, OSError) as problem:
            reason = getattr(problem, "reason", problem)
            raise MeshweirError(
                f"{url} does not answer ({reason}); is meshweir up running there?"
            ) from problem
        return body

    return get


def _detail(refusal: urllib.error.HTTPError) -> str:
    try:
        told: Any = json.loads(refusal.read(65_536))
    except (OSError, ValueError):
        return refusal.reason
    return str(told.get("detail", refusal.reason)) if isinstance(told, dict) else refusal.reason
