"""What a public client can do over gRPC alone: compression, callbacks, streams."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from tests.protocols.triton import ONE, values
from tests.protocols.triton import grpc as triton
from tests.protocols.triton import grpc_aio as triton_aio


@pytest.fixture(scope="module")
def client(grpc_address: str) -> Iterator[Any]:
    client = triton.InferenceServerClient(grpc_address)
    yield client
    client.close()


def tensor(name: str, array: Any, datatype: str) -> Any:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_messages_are_read_and_answered(client: Any, coding: str) -> None:
    array = np.zeros((100, 100), "f4")
    answer = client.infer("identity", [tensor("x", array, "FP32")], compression_algorithm=coding)
    assert (answer.as_numpy("output-0") == array).all()


def test_calls_made_in_the_background(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for _ in "123":
        client.async_infer(
            "identity",
            [tensor("x", ONE, "FP32")],
            lambda result, error: answers.put((result, error)),
        )
    for _ in "123":
        result, error = answers.get(timeout=60)
        assert error is None
        assert result.as_numpy("output-0").tolist() == [1]


class Stream:
    """A stream and what comes of it."""

    def __init__(self, client: Any, **options: Any) -> None:
        self._client = client
        self._answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: self._answers.put((result, error)), **options)

    def ask(self, model: str, *inputs: Any, id: str = "", **options: Any) -> None:  # noqa: A002
        self._client.async_stream_infer(model, list(inputs), request_id=id, **options)

    def answer(self) -> Any:
        result, error = self._answers.get(timeout=60)
        assert error is None, error
        return result

    def error(self) -> str:
        result, error = self._answers.get(timeout=60)
        assert result is None
        return str(error)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_stream()


def words(*texts: str) -> Any:
    return tensor("text_input", np.array([text.encode() for text in texts], object), "BYTES")


def test_one_stream_for_many_models(client: Any) -> None:
    with Stream(client) as stream:
        stream.ask("count", words("a"), id="1")
        stream.ask("identity", tensor("x", values("FP32", [64, 1024]), "FP32"), id="2")
        stream.ask("nobody", tensor("x", ONE, "FP32"), id="3")
        stream.ask("double", tensor("x", np.ones(1), "FP64"), id="4")
        for number in range(3):
            item = stream.answer()
            assert item.get_response().id == "1"
            assert item.as_numpy("text_output").tolist() == [f"a {number}".encode()]
        assert (stream.answer().as_numpy("output-0") == values("FP32", [64, 1024])).all()
        assert "Model 'nobody' is not known" in stream.error()
        assert stream.answer().as_numpy("output-0").tolist() == [2.0]


def test_an_error_in_the_middle_of_a_stream_leaves_it_open(client: Any) -> None:
    with Stream(client) as stream:
        stream.ask("breaks", words("a"))
        assert stream.answer().as_numpy("text_output").tolist() == [b"a"]
        assert "RuntimeError: in the middle" in stream.error()
        stream.ask("count", words("b"))
        assert stream.answer().as_numpy("text_output").tolist() == [b"b 0"]


def test_the_end_of_the_answers_to_a_request_is_marked_where_that_is_asked_for(client: Any) -> None:
    def is_last(answer: Any) -> bool:
        parameters = answer.get_response().parameters
        return "triton_final_response" in parameters

    with Stream(client) as stream:
        stream.ask("count", words("a"), id="1", enable_empty_final_response=True)
        assert [is_last(stream.answer()) for _ in range(4)] == [False, False, False, True]
        stream.ask("identity", tensor("x", ONE, "FP32"), enable_empty_final_response=True)
        only = stream.answer()
        assert is_last(only)
        assert only.as_numpy("output-0").tolist() == [1]


def test_errors_end_the_stream_where_that_is_asked_for(client: Any) -> None:
    with Stream(client, headers={"triton_grpc_error": "true"}) as stream:
        stream.ask("nobody", tensor("x", ONE, "FP32"))
        assert "StatusCode.NOT_FOUND" in stream.error()


async def test_the_asyncio_client_has_streams_too(grpc_address: str) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for text in "ab":
            yield {"model_name": "count", "inputs": [words(text)]}

    async with triton_aio.InferenceServerClient(grpc_address) as client:
        found = [
            (result.as_numpy("text_output").tolist(), error)
            async for result, error in client.stream_infer(requests())
        ]
    assert found == [([f"{text} {n}".encode()], None) for text in "ab" for n in range(3)]


def test_whether_a_model_that_is_not_there_is_ready(client: Any) -> None:
    with pytest.raises(Exception, match="'nobody' is not known") as raised:
        client.is_model_ready("nobody")
    assert raised.value.status() == "StatusCode.NOT_FOUND"  # type: ignore[attr-defined]
