"""How gRPC spells refusals: a status code, a text, and details a sender can act on."""

from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from pipeline.errors import DecodeError, MeshweirError, MessageTooLarge, Transient

_DETAILS: Final = "grpc-status-details-bin"
_RETRY_INFO: Final = "google.rpc.retryinfo-bin"

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    Method: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:  # generic in the stubs only
    Context = grpc.aio.ServicerContext
    Method = grpc.RpcMethodHandler


async def refuse(context: Context, error: MeshweirError) -> NoReturn:
    """End a call with the status that the OTLP specification gives to this error."""
    code = _code(error)
    status = Status(code=code.value[0], message=str(error))
    metadata: list[tuple[str, bytes]] = []
    if isinstance(error, Transient):
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        retry = RetryInfo(retry_delay=delay)
        status.details.add().Pack(retry)
        # the Python SDK looks here, and not into the details
        metadata.append((_RETRY_INFO, retry.SerializeToString()))
    if isinstance(error, DecodeError):
        violation = BadRequest.FieldViolation(field="message", description=str(error))
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    metadata.append((_DETAILS, status.SerializeToString()))
    await context.abort(code, str(error), tuple(metadata))
    raise AssertionError("abort returned")


async def refuse_stranger(context: Context) -> NoReturn:
    """End a call that carries no token, or a wrong one."""
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "a bearer token is needed: metadata authorization: Bearer ...",
    )
    raise AssertionError("abort returned")


def _code(error: MeshweirError) -> grpc.StatusCode:
    if isinstance(error, MessageTooLarge):
        # without RetryInfo this code tells a sender not to try again
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    if isinstance(error, Transient):
        return grpc.StatusCode.UNAVAILABLE
    return grpc.StatusCode.INVALID_ARGUMENT
