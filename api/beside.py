"""Work that goes on beside the body of a ``with`` block."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work beside the body; it is cancelled at the end.

    When it fails, the body is cancelled and the failure raised in its place.
    """
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as failures:
        # one of them: what failed first ended the other
        raise failures.exceptions[0] from None
