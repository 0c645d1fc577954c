"""OTLP over gRPC: generic handlers that take raw bytes, so that no message object is built."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import grpc

from collectors.envoy_stream import EnvoyStream, EnvoyStreamService
from collectors.grpc_answers import Context, Method, refuse, refuse_stranger
from collectors.intake import Channel, Intake
from collectors.listen import Guard, cannot_listen, join_address
from collectors.room import Claim
from collectors.settings import OtlpGrpcSettings
from collectors.signals import SIGNALS, Signal, partial_success
from pipeline.errors import BusUnavailable

SOURCE: Final = "otlp_grpc"
FIELD: Final = "otlp_grpc_address"

Unary = Callable[[bytes, Context], Awaitable[bytes]]

_log = logging.getLogger(__name__)


class OtlpGrpcReceiver:
    """Takes OTLP, and streams of Envoys, over gRPC on one address.

    Args:
        intake: where messages go.
        settings: the address and the limits.
        streams: the kinds of streams that Envoys may send.
        guard: who may send.
    """

    def __init__(
        self,
        intake: Intake,
        settings: OtlpGrpcSettings,
        streams: Sequence[EnvoyStream],
        guard: Guard,
    ) -> None:
        self._intake = intake
        self._settings = settings
        self._streams = streams
        self._guard = guard
        self._address = settings.address or ""
        self._server: grpc.aio.Server | None = None
        self._services: dict[str, EnvoyStreamService] = {}
        self._stopping = False

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return self._address

    async def start(self) -> None:
        """Listen; raises InvalidInput when the address cannot be had."""
        host, port = self._guard.check_address(self._settings.address or "", field=FIELD)
        formats = [stream.format for stream in self._streams]
        await self._intake.warm_up(*formats, *(signal.format for signal in SIGNALS))
        self._stopping = False
        self._services = {
            stream.method: EnvoyStreamService(self._intake, stream) for stream in self._streams
        }
        server = grpc.aio.server(options=self._options())
        server.add_generic_rpc_handlers([_Methods(self._methods(), self._guard)])
        try:
            bound = server.add_insecure_port(join_address(host, port))
        except RuntimeError as error:
            await server.stop(None)
            raise cannot_listen(FIELD, host, port, "it is in use or not of this host") from error
        self._address = join_address(host, bound)
        await server.start()
        self._server = server
        sources = ", ".join(("OTLP/gRPC", *(stream.source for stream in self._streams)))
        _log.info("%s: taken on %s", sources, self._address)

    async def stop(self) -> None:
        """Refuse new calls, finish those under way, close. Idempotent."""
        if self._server is None:
            return
        self._stopping = True
        for service in self._services.values():
            service.stop()
        await self._server.stop(self._settings.drain_seconds)
        self._server = None

    def _methods(self) -> dict[str, Method]:
        methods = {
            f"/{signal.service}/Export": grpc.unary_unary_rpc_method_handler(self._export(signal))
            for signal in SIGNALS
        }
        return methods | {method: one.handler for method, one in self._services.items()}

    def _export(self, signal: Signal) -> Unary:
        channel = Channel(SOURCE, signal.format, signal.topic)

        async def export(message: bytes, context: Context) -> bytes:
            if self._stopping:
                await refuse(context, BusUnavailable("this collector is stopping"))

            async def body(claim: Claim) -> bytes:
                claim.grow(len(message))
                return message

            receipt = await self._intake.take(channel, body)
            if receipt.error is not None:
                await refuse(context, receipt.error)
            if receipt.rejected:
                answer = partial_success(signal, receipt.rejected, receipt.reason)
                return answer.SerializeToString()
            return b""

        return export

    def _options(self) -> list[tuple[str, int]]:
        return [
            # gRPC holds the decompressed message to it too, and stops a bomb in the middle
            ("grpc.max_receive_message_length", self._settings.max_message_bytes),
            ("grpc.max_concurrent_streams", self._settings.max_concurrent_streams),
            # a second process on the same port would silently get half of the telemetry
            ("grpc.so_reuseport", 0),
        ]


class _Methods(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Finds the handler of a method, for senders that may send."""

    def __init__(self, methods: dict[str, Method], guard: Guard) -> None:
        self._methods = methods
        self._guard = guard

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Method | None:
        handler = self._methods.get(handler_call_details.method)
        if handler is None or self._guard.is_open:
            return handler
        metadata = dict(handler_call_details.invocation_metadata or ())
        authorization = metadata.get("authorization", "")
        given = authorization.encode() if isinstance(authorization, str) else authorization
        return handler if self._guard.admits(given) else _STRANGER[handler.request_streaming]


async def _refuse_call(_: object, context: Context) -> bytes:
    await refuse_stranger(context)


_STRANGER: Final = {
    False: grpc.unary_unary_rpc_method_handler(_refuse_call),
    True: grpc.stream_unary_rpc_method_handler(_refuse_call),
}
