"""Repository, shared memory and configuration; whole messages by content type."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from salver.oip import proto
from salver.oip.codecs import built_in
from salver.oip.configuration import configuration
from salver.oip.errors import InvalidMessageError, MalformedBodyError
from salver.oip.metadata import ModelMetadata, SharedMemoryRegion, TensorMetadata
from salver.oip.metadata_messages import fill
from salver.oip.repository import (
    Region,
    load_of,
    read_index,
    read_load,
    read_register,
    read_unload,
)
from salver.oip.rest import RestFormat, write_request
from salver.oip.types import InferRequest, Tensor

REGISTRY = built_in()


def test_an_empty_body_asks_for_everything() -> None:
    assert read_index(b"") is False
    assert read_index(b'{"ready":true}') is True
    assert read_load(b"").config is None
    assert read_unload(b"{}") is False


def test_a_load_may_bring_configuration_and_files() -> None:
    body = b'{"parameters":{"config":"{\\"a\\":1}","file:1/model.bin":"AAE="}}'

    request = read_load(body)

    assert request.config == {"a": 1}
    assert request.files == {"1/model.bin": b"\0\1"}
    assert load_of({"config": "{}", "file:x": b"raw"}).files == {"x": b"raw"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", r"^no valid JSON"),
        (b'{"parameters":[]}', r"^\$\.parameters: Expected"),
        (b'{"parameters":{"config":"["}}', r"^\$\.parameters\.config: expected the text of a JSON"),
        (b'{"parameters":{"config":{}}}', r"^\$\.parameters\.config: expected the text of a JSON"),
        (b'{"parameters":{"config":"[1e999]"}}', r"^\$\.parameters\.config: expected the text of"),
        (
            b'{"parameters":{"config":"{\\"a\\":18446744073709551616}"}}',
            r"^\$\.parameters\.config: expected the text of a JSON object: ",
        ),
        (b'{"parameters":{"file:x":"AAE="}}', r"^\$\.parameters\.config: files need a config"),
        (
            b'{"parameters":{"config":"{}","file:x":"!"}}',
            r"^\$\.parameters\.file:x: expected base64",
        ),
    ],
)
def test_wrong_load_bodies_are_named(body: bytes, message: str) -> None:
    with pytest.raises((InvalidMessageError, MalformedBodyError), match=message):
        read_load(body)


def test_a_region_of_no_bytes_is_none() -> None:
    with pytest.raises(InvalidMessageError, match=r"^\$\.byte_size: expected at least one byte"):
        read_register("r", b'{"key":"/shm","byte_size":0}')


def test_regions_are_registered_and_referred_to() -> None:
    body = b'{"key":"/shm","offset":8,"byte_size":64}'

    assert read_register("r", body) == SharedMemoryRegion("r", "/shm", 8, 64)
    assert Region.of({}) is None
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    assert Region.of(parameters) == Region("r", 16, 0)
    for wrong in ({"shared_memory_byte_size": -1}, {"shared_memory_byte_size": None},
                  {"shared_memory_offset": True}, {"shared_memory_region": 5}):  # fmt: skip
        with pytest.raises(InvalidMessageError, match=r"^\.parameters\.shared_memory_"):
            Region.of(parameters | wrong)
    with pytest.raises(InvalidMessageError, match=r"^\$\.byte_size: expected a number of bytes"):
        read_register("r", b'{"key":"/shm","byte_size":-1}')


def test_the_configuration_is_the_same_in_json_and_protobuf() -> None:
    tensors = [
        TensorMetadata("x", "FP32", [-1, 3]),
        TensorMetadata("s", "BYTES", [-1], {"optional": True}),
    ]
    found = configuration(ModelMetadata("m", "p", tensors, []), max_batch_size=8, streams=True)

    message = fill(proto.message("ModelConfig")(), found)

    assert found["input"][1]["data_type"] == "TYPE_STRING"
    assert list(message.input[0].dims) == [3]
    assert message.input[1].optional
    assert message.model_transaction_policy.decoupled


def test_threads_may_share_a_format() -> None:
    rest, failed = RestFormat(), []

    def read(seed: int) -> None:
        array: Any = np.random.default_rng(seed).random(2000, dtype=np.float32)
        body = write_request(InferRequest([Tensor.of("x", array)])).join()
        for _ in range(20):
            found = rest.read_request(body).inputs[0].array()
            failed.extend([] if np.array_equal(found, array) else [seed])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []


def test_a_long_open_string_beside_nan_is_refused() -> None:
    """Were the search for its end quadratic, this would not come back."""
    body = b'{"a":NaN,"b":"' + b'\\"' * 2_000_000

    with pytest.raises(MalformedBodyError):
        RestFormat().read_request(body)
