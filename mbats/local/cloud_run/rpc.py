"""The API over gRPC, without TLS, on a port of the loopback interface."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from mbats.local.cloud_run.api import Api
from mbats.local.cloud_run.methods import Method, by_service, plain
from mbats.local.cloud_run.refusals import Refusal

_OPTIONS = (("grpc.so_reuseport", 0),)  # two servers never share a port


async def serve(api: Api, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """Start the server; return it and its port. RuntimeError if the port is taken."""
    server = grpc.aio.server(options=_OPTIONS)
    for service, methods in by_service().items():
        handlers = {method.name: _handler(api, method) for method in methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    return server, bound


def _handler(api: Api, method: Method) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        _behaviour(api, method),
        request_deserializer=method.parse,
        response_serializer=lambda answer: plain(answer).SerializeToString(),
    )


def _behaviour(api: Api, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
    async def behave(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method.call(api, request)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.message)

    return behave
