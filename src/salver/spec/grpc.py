"""Every setting of the gRPC door, once: its name, type, default, bounds and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from salver.spec.fields import check_names, read
from salver.spec.model import ConfigModel
from salver.spec.tls import TlsFiles

__all__ = ("GrpcDoorSettings", "gRPCOptions", "grpc_options")

MESSAGE_LIMIT = 2**31 - 1  # gRPC counts a message's bytes in 31 bits


class gRPCOptions(ConfigModel, TlsFiles, kw_only=True, frozen=True):  # noqa: N801 - Ray Serve's name
    """How the gRPC door listens, what it serves, and where it says no."""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0: one that is free.")] = 9000
    grpc_servicer_functions: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(
            description="Import paths of generated functions, such as "
            "'hello_pb2_grpc.add_HelloServicer_to_server'."
        ),
    ] = msgspec.field(default_factory=list)
    inference: Annotated[
        bool | None,
        Meta(
            description="Answer the Open Inference Protocol. true: the door opens for it alone; "
            "false: never; null: where the door is open for other services."
        ),
    ] = None
    inference_stream: Annotated[
        Literal["triton", "mlserver"],
        Meta(description="Whose messages answer ModelStreamInfer."),
    ] = "triton"
    request_timeout_s: Annotated[
        float | None,
        Meta(description="From a call's start to its end; None or <= 0: the client's deadline."),
    ] = None
    enable_reflection: Annotated[
        bool, Meta(description="Tell clients which services and messages there are.")
    ] = True
    max_receive_message_bytes: Annotated[
        int, Meta(ge=1, le=MESSAGE_LIMIT, description="The longest message that is let in.")
    ] = 64 << 20
    max_send_message_bytes: Annotated[
        int, Meta(ge=1, le=MESSAGE_LIMIT, description="The longest message that is sent.")
    ] = MESSAGE_LIMIT
    drain_timeout_s: Annotated[
        float, Meta(ge=0, description="How long calls under way may go on once it stops.")
    ] = 20.0

    @property
    def wanted(self) -> bool:
        """Whether there is anything to open a door for."""
        return bool(self.grpc_servicer_functions or self.inference)

    @property
    def infers(self) -> bool:
        """Whether what opens answers the Open Inference Protocol."""
        return self.wanted and self.inference is not False


class GrpcDoorSettings(msgspec.Struct, frozen=True):
    """What the process of the door is told: its options, and where code is."""

    options: gRPCOptions
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    shares_memory: bool = False  # clients may register system shared memory


def grpc_options(given: object = None) -> gRPCOptions:
    """The door's options from None, a dict, or gRPCOptions; every value is checked."""
    if given is None:
        return gRPCOptions()
    fields = msgspec.structs.asdict(given) if isinstance(given, gRPCOptions) else given
    if not isinstance(fields, Mapping):
        raise TypeError(
            f"grpc_options={given!r} is not valid: expected a dict such as "
            '{"port": 9000, "grpc_servicer_functions": [...]}, or gRPCOptions.'
        )
    check_names(gRPCOptions, fields, "an option of the gRPC door")
    return read(gRPCOptions, fields, "grpc_options")
