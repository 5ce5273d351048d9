"""Options of the gRPC door: every spelling, every mistake."""

from __future__ import annotations

import msgspec
import pytest

from salver.serve.config import gRPCOptions
from salver.spec.grpc import grpc_options


def test_the_names_and_defaults_that_users_of_ray_serve_know() -> None:
    options = gRPCOptions()
    assert (options.port, options.grpc_servicer_functions) == (9000, [])
    assert (options.request_timeout_s, options.enable_reflection) == (None, True)


def test_a_dict_and_the_options_say_the_same() -> None:
    given = {"port": 1, "grpc_servicer_functions": ["a.b"], "request_timeout_s": 2}
    assert grpc_options(given) == grpc_options(gRPCOptions(**given)) != grpc_options(None)  # type: ignore[arg-type]


def test_a_door_is_wanted_where_there_are_services() -> None:
    assert not grpc_options({"port": 9000}).wanted
    assert grpc_options({"grpc_servicer_functions": ["a.b"]}).wanted


@pytest.mark.parametrize(
    ("services", "inference", "wanted", "infers"),
    [
        ([], None, False, False),
        ([], True, True, True),
        ([], False, False, False),
        (["a.b"], None, True, True),
        (["a.b"], False, True, False),
    ],
)
def test_the_inference_service_is_there_with_a_door_and_opens_one_where_it_is_asked_for(
    services: list[str], inference: bool | None, wanted: bool, infers: bool
) -> None:
    options = grpc_options({"grpc_servicer_functions": services, "inference": inference})
    assert (options.wanted, options.infers) == (wanted, infers)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"prot": 1}, TypeError, r"'prot' is not an option of the gRPC door. Did you mean port\?"),
        ({"zzzz": 1}, TypeError, r"Known: .*enable_reflection"),
        (7, TypeError, r"grpc_options=7 is not valid: expected a dict"),
        ({"port": -1}, ValueError, r"^grpc_options\['port'\]=-1 is not valid: expected int >= 0\."),
        ({"grpc_servicer_functions": [print]}, TypeError, r"expected str, got "),
        (
            gRPCOptions(port=70000),
            ValueError,
            r"\['port'\]=70000 is not .* int <= 65535",
        ),
    ],
)
def test_mistakes_are_named(given: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        grpc_options(given)


def test_every_option_says_what_it_means() -> None:
    for field in msgspec.structs.fields(gRPCOptions):
        meta = [m for m in field.type.__metadata__ if isinstance(m, msgspec.Meta)]
        assert meta[0].description, field.name
