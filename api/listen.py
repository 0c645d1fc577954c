"""The address of the API: read, judged and bound before anything is opened."""

import socket
from typing import Annotated

from pydantic import AfterValidator

from collectors.listen import join_address, split_address
from pipeline.errors import InvalidInput


def _checked(address: str) -> str:
    try:
        split_address(address, field="address")
    except InvalidInput as problem:
        raise ValueError(problem.allowed) from None
    return address


ListenAddress = Annotated[str, AfterValidator(_checked)]
"""A text of the form HOST:PORT; port 0 asks the system for a free one."""


def bound_address(listener: socket.socket) -> str:
    """Where a socket really listens, as HOST:PORT."""
    host, port = listener.getsockname()[:2]
    return join_address(host, port)
