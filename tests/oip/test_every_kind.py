"""Equal in, equal out: a value of every annotation, through every protocol, by one function."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from salver.client.values import tensors_of, values_of
from salver.oip.binding import Binder
from salver.oip.bodies import read_body, write_body
from salver.oip.generate import read_generate, write_generate
from salver.oip.messages import read_infer_response, write_infer_request
from salver.oip.metadata import ModelMetadata
from salver.oip.proto import message, parse
from salver.oip.rest import RestFormat, write_request, write_response
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, InferResponse
from salver.oip.v1 import bind_v1, read_v1, takes_batches, write_v1
from tests.oip.kinds import KINDS, Kind, same

REST = RestFormat()


class Echo:
    """An endpoint of one kind, which notes what it was given."""

    def __init__(self, kind: Kind) -> None:
        def echo(x: Any) -> Any:
            self.given = x
            return x

        echo.__annotations__ = {"x": kind.hint, "return": kind.hint}
        self.function = echo
        self.binder = Binder(Signature.of(echo))
        self.metadata: ModelMetadata = self.binder.signature.metadata("echo")

    def infer(self, request: InferRequest) -> InferResponse:
        result = self.function(**self.binder.bind(request))
        return self.binder.pack(result, request)


def over_rest(echo: Echo, request: InferRequest, binary: bool) -> InferResponse:
    body = write_request(request, lambda _: binary)
    read = REST.read_request(body.join(), body.header_length)
    answer = write_response(echo.infer(read), lambda _: binary)
    return REST.read_response(answer.join(), answer.header_length)


def over_grpc(echo: Echo, request: InferRequest, typed: bool) -> InferResponse:
    sent = write_infer_request(request, typed_contents=typed).SerializeToString()
    read, wants_typed = read_body(sent)
    front, pieces = write_body(echo.infer(read), wants_typed)
    return read_infer_response(
        parse(message("ModelInferResponse"), b"".join((front, *map(bytes, pieces))))
    )


WAYS: dict[str, Callable[[Echo, InferRequest], InferResponse]] = {
    "json": lambda echo, request: over_rest(echo, request, binary=False),
    "binary": lambda echo, request: over_rest(echo, request, binary=True),
    "raw": lambda echo, request: over_grpc(echo, request, typed=False),
    "typed": lambda echo, request: over_grpc(echo, request, typed=True),
}
NO_TYPED = ("FP16", "BF16", "torch")  # these have no typed contents
each_kind = pytest.mark.parametrize("name", KINDS)


def check(name: str, test: Callable[[Echo, Any, Any], None]) -> None:
    """The test with an echo, values of the kind, and what they are in JSON."""
    kind, echo = KINDS[name], Echo(KINDS[name])

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(value=kind.values)
    def run(value: Any) -> None:
        test(echo, value, kind.plain(value))

    run()


@pytest.mark.parametrize("way", WAYS)
@each_kind
def test_what_a_client_sends_by_tensors_comes_back(name: str, way: str) -> None:
    if way == "typed" and name in NO_TYPED:
        pytest.skip("no typed contents")

    def test(echo: Echo, value: Any, _: Any) -> None:
        request = InferRequest(tensors_of(echo.metadata, {"x": value}), model_name="echo")
        answer = WAYS[way](echo, request)
        assert same(echo.given, value)
        assert same(values_of(answer, echo.metadata), KINDS[name].told(value))

    check(name, test)


@each_kind
def test_plain_json_comes_back_as_it_was(name: str) -> None:
    def test(echo: Echo, value: Any, plain: Any) -> None:
        given = echo.binder.bind_json(dumps({"x": plain}))
        answer = json.loads(echo.binder.pack_json(echo.function(**given)))
        assert same(echo.given, value)
        assert alike(answer, plain)

    check(name, test)


@each_kind
def test_columns_of_v1_come_back_as_they_were(name: str) -> None:
    def test(echo: Echo, value: Any, plain: Any) -> None:
        request = read_v1(dumps({"inputs": {"x": plain}}))
        (given,) = bind_v1(echo.binder, request)
        answer = json.loads(write_v1(echo.binder, request, [echo.function(**given)]))
        assert same(echo.given, value)
        assert alike(answer["outputs"], plain)

    check(name, test)


@each_kind
def test_rows_of_v1_come_back_as_they_were(name: str) -> None:
    def test(echo: Echo, value: Any, plain: Any) -> None:
        whole = takes_batches(echo.binder)
        if whole and not isinstance(plain, list):  # no batch
            return
        rows = plain if whole else [plain, plain]
        request = read_v1(dumps({"instances": rows}))
        results = [echo.function(**given) for given in bind_v1(echo.binder, request)]
        answer = json.loads(write_v1(echo.binder, request, results))
        assert same(echo.given, value)
        assert alike(answer["predictions"], rows)

    check(name, test)


@each_kind
def test_what_generate_is_given_arrives(name: str) -> None:
    def test(echo: Echo, value: Any, plain: Any) -> None:
        request = read_generate(dumps({"x": plain}), echo.metadata, REST)
        answer = json.loads(write_generate(echo.infer(request)))
        assert same(echo.given, value)
        assert len(answer) > 1 or value is None

    check(name, test)


def dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def alike(answer: Any, plain: Any) -> bool:
    """Whether two texts of JSON say the same; what FP16 holds has more than one decimal, and the
    least of it (2**-24) many."""
    if isinstance(answer, list) and isinstance(plain, list):
        return len(answer) == len(plain) and all(map(alike, answer, plain))
    if isinstance(answer, dict) and isinstance(plain, dict):
        return answer.keys() == plain.keys() and all(alike(answer[k], plain[k]) for k in plain)
    if isinstance(answer, float) and isinstance(plain, float):
        return math.isclose(answer, plain, rel_tol=1e-2, abs_tol=2**-25)
    return type(answer) is type(plain) and bool(answer == plain)
