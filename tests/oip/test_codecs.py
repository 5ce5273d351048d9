"""Codecs: equal in, equal out, over REST and gRPC; and what clients may get wrong."""

from __future__ import annotations

import contextlib
import datetime as dt
from importlib import import_module
from typing import Annotated, Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from salver.oip.binding import Binder
from salver.oip.codecs import built_in
from salver.oip.errors import ContentError, InvalidResultError
from salver.oip.rest import RestFormat, write_response
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, InferResponse, Tensor
from salver.spec.endpoint import Field
from tests.oip.strategies import over_grpc as received

REGISTRY = built_in()
PD = REGISTRY.group_named("pd")
REST = RestFormat()


def over_json(tensors: list[Tensor]) -> list[Tensor]:
    return REST.read_response(write_response(InferResponse(tensors, "m")).join()).outputs


def over_binary(tensors: list[Tensor]) -> list[Tensor]:
    body = write_response(InferResponse(tensors, "m"), lambda _: True)
    return REST.read_response(body.join(), body.header_length).outputs


def over_grpc(tensors: list[Tensor]) -> list[Tensor]:
    return received(InferResponse(tensors, "m")).outputs


OVERS = pytest.mark.parametrize("over", [over_json, over_binary, over_grpc])


def sent(value: Any, over: Any) -> Any:
    (tensor,) = over([REGISTRY.encode("x", value)])
    return REGISTRY.decode(tensor)


@OVERS
@given(
    array=hnp.arrays(
        st.sampled_from("?bBhHiIlLefd").map(np.dtype)
        | hnp.datetime64_dtypes(max_period="s", min_period="s", endianness="<"),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    )
    | hnp.arrays(
        "U5", 3, elements=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
    )
)
def test_arrays_keep_dtype_and_shape(over: Any, array: npt.NDArray[Any]) -> None:
    found = sent(array, over)

    assert found.shape == array.shape
    assert np.array_equal(found, array, equal_nan=array.dtype.kind in "fM")
    assert found.dtype.kind == array.dtype.kind


TEXT = st.text(max_size=8)
TIMES = st.datetimes(timezones=st.sampled_from([None, dt.UTC]))


@OVERS
@given(
    value=st.lists(TEXT, min_size=1, max_size=4)
    | st.lists(st.binary(max_size=8), min_size=1, max_size=4)
    | st.lists(TIMES, min_size=1, max_size=4)
    | st.lists(st.dictionaries(TEXT, TEXT | st.none(), max_size=3), min_size=1, max_size=3)
)
def test_lists_of_values_come_back(over: Any, value: list[Any]) -> None:
    assert sent(value, over) == value


@OVERS
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16", "F"])
def test_images_keep_every_pixel(over: Any, mode: str) -> None:
    images = import_module("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 255, (5, 4, 4), dtype=np.uint8)
    image = images.frombytes("RGBA", (4, 5), pixels.tobytes())
    if mode == "I;16":
        image = images.frombytes(mode, (4, 5), pixels.tobytes()[:40])
    elif mode != "RGBA":
        image = image.convert(mode)

    (found,) = sent(image, over)

    assert found.tobytes() == image.tobytes()


def test_pixels_of_32_bits_keep_what_16_cannot_hold() -> None:
    images = import_module("PIL.Image")
    image = images.fromarray(np.array([[100_000, -5]], "i4"))

    found = REGISTRY.decode(REGISTRY.encode("x", image))[0]

    assert (image.mode, found.mode) == ("I", "I")
    assert np.asarray(found).tolist() == [[100_000, -5]]


@pytest.mark.parametrize(
    ("mode", "becomes"), [("CMYK", "RGB"), ("RGBX", "RGB"), ("PA", "RGBA"), ("La", "LA")]
)
def test_an_image_of_a_mode_that_files_have_not_is_converted(mode: str, becomes: str) -> None:
    image = import_module("PIL.Image").new(mode, (2, 3))

    found = REGISTRY.decode(REGISTRY.encode("x", image))[0]

    assert (found.mode, found.size) == (becomes, (2, 3))


def test_an_image_may_come_as_base64_or_data_url() -> None:
    images = import_module("PIL.Image")
    image = images.new("RGB", (2, 2), "red")
    text = REGISTRY.named("pillow_image").encode("x", image).array()[0]

    for element in (text, b"data:image/png;base64," + text):
        tensor = Tensor.of("x", np.array([element], object), {"content_type": "image"})
        assert REGISTRY.decode(tensor)[0].getpixel((1, 1)) == (255, 0, 0)


FRAMES = [
    {"a": [1, 2, 3]},
    {"a": np.array([1, 2], "u1"), "b": np.array([0.5, np.nan], "f4")},
    {"s": ["x", "ü"], "missing": ["y", None]},
    {"i": pd.array([1, None], dtype="Int64"), "u": pd.array([1, 2], dtype="UInt8")},
    {"f": pd.array([1.5, None], dtype="Float32"), "b": pd.array([True, None], dtype="boolean")},
    {"c": pd.Categorical(["u", "v", "u"]), "b": [True, False, True]},
    {"t": pd.to_datetime(pd.Series(["2020-01-01T01:02:03.123456", None]))},
    {"z": pd.to_datetime(["2020-07-01", "2021-01-01"]).tz_localize("Europe/Paris")},
    {"d": pd.to_timedelta([1, 2.5], unit="s")},
    {"o": [{"k": [1, None]}, None, "text"]},
    {"empty": np.array([], "i8")},
]


@OVERS
@pytest.mark.parametrize("columns", FRAMES, ids=lambda columns: ",".join(columns))
def test_frames_keep_values_and_dtypes(over: Any, columns: dict[str, Any]) -> None:
    frame = pd.DataFrame(columns)

    found = PD.decode_all(over(PD.encode_all(frame)))

    pd.testing.assert_frame_equal(found, frame)


def test_a_frame_of_strings_without_content_type_is_text_if_it_reads_as_text() -> None:
    tensors = [
        Tensor.of("a", np.array([b"x"], object)),
        Tensor.of("b", np.array([b"\xff"], object)),
    ]

    frame = REGISTRY.group_named("pd").decode_all(tensors)

    assert frame.iloc[0].tolist() == ["x", b"\xff"]


def test_columns_of_different_length_are_refused() -> None:
    tensors = [Tensor.of("a", np.ones(2)), Tensor.of("b", np.ones(3))]

    with pytest.raises(ContentError, match=r"^the columns of a frame must be equally long"):
        REGISTRY.group_named("pd").decode_all(tensors)


def test_a_dtype_made_up_by_a_client_is_refused() -> None:
    tensor = Tensor.of("a", np.ones(2), {"pd_dtype": "__import__"})

    with pytest.raises(ContentError, match=r"^\.parameters\.pd_dtype: unknown dtype '__import__'$"):
        REGISTRY.group_named("pd").decode_all([tensor])


@pytest.mark.parametrize(
    ("content_type", "element", "message"),
    [
        ("str", b"\xff", r"^\.data\[0\]: the element is no str: "),
        ("base64", b"abc!", r"^\.data\[0\]: the element is no base64: no valid base64"),
        ("datetime", b"tomorrow", r"^\.data\[0\]: the element is no datetime: "),
        ("json", b"{", r"^\.data\[0\]: the element is no json: no valid JSON"),
        ("image", b"no image", r"^\.data\[0\]: the element is no image: .*\(no known format\)$"),
        (
            "bas64",
            b"",
            r"^\.parameters\.content_type: unknown content type 'bas64'; .* 'base64'\?$",
        ),
    ],
)
def test_content_that_is_not_what_it_says_is_refused(
    content_type: str, element: bytes, message: str
) -> None:
    tensor = Tensor.of("x", np.array([element], object), {"content_type": content_type})

    with pytest.raises(ContentError, match=message):
        REGISTRY.decode(tensor)


def test_text_in_a_tensor_of_numbers_is_refused() -> None:
    tensor = Tensor.of("x", np.ones(1), {"content_type": "str"})

    with pytest.raises(ContentError, match=r"^\.datatype: content type 'str' needs datatype BYTES"):
        REGISTRY.decode(tensor)


def test_received_arrays_may_be_written_to() -> None:
    contents = np.ones(3, "f4").tobytes()

    array = REGISTRY.decode(Tensor.raw("x", "FP32", (3,), contents), REGISTRY.named("np"))
    array += 1

    assert array.tolist() == [2, 2, 2]


@pytest.mark.parametrize("bits", ["installed", "missing"])
def test_floats_become_the_bf16_that_was_declared(
    bits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ml_dtypes a function gets FP32, and has nothing else to answer with."""

    def double(x: Any) -> Any:
        return (x * 2).astype(np.float32)

    if bits == "missing":
        monkeypatch.setattr("salver.oip.codecs.numpy.find_spec", lambda _: None)
    declared = Annotated[np.ndarray, Field("BF16", (-1,))]
    double.__annotations__ = {"x": declared, "return": declared}
    binder = Binder(Signature.of(double))
    given = binder.bind(InferRequest([Tensor("x", "BF16", (2,), np.array([0x3FC0, 0], "u2"))]))
    (tensor,) = binder.pack(double(**given)).outputs

    assert tensor.datatype == "BF16"
    assert tensor.array().tolist() == [0x4040, 0]


def test_a_mask_is_not_lost_in_silence() -> None:
    masked = np.ma.masked_array([1.0, 2.0], mask=[False, True])

    with pytest.raises(InvalidResultError, match=r"^masked elements have no form.* `filled\("):
        REGISTRY.encode("x", masked)
    found = REGISTRY.encode("x", np.ma.masked_array([1.0])).array()
    assert (type(found), found.tolist()) == (np.ndarray, [1])


@pytest.mark.parametrize("unit", ["Y", "W", "D", "m", "10s", "25us"])
def test_times_of_any_unit_come_back(unit: str) -> None:
    array = np.array(["2026-11-28T05", "NaT"]).astype(f"M8[{unit}]")

    found = REGISTRY.decode(REGISTRY.encode("x", array))

    np.testing.assert_array_equal(found, array.astype(found.dtype))
    np.testing.assert_array_equal(found.astype(array.dtype), array)


def test_bf16_is_a_real_array_of_that_type() -> None:
    ml_dtypes = import_module("ml_dtypes")
    array = np.array([1.5, -2], dtype=ml_dtypes.bfloat16)

    tensor = REGISTRY.encode("x", array)

    assert tensor.datatype == "BF16"
    assert REGISTRY.decode(tensor).dtype == array.dtype
    assert REGISTRY.decode(tensor).tolist() == [1.5, -2]


@pytest.mark.parametrize(
    "value", [object(), np.array([1 + 2j]), np.array([object()]), {1j}, "\ud800"]
)
def test_what_no_protocol_can_say_is_an_error_of_the_result(value: Any) -> None:
    with pytest.raises(InvalidResultError):
        REGISTRY.encode("x", value)


@settings(max_examples=200)
@given(
    content_type=st.sampled_from(
        ["np", "str", "base64", "datetime", "json", "image", "pd_json", "bytes", "series", "number"]
    ),
    elements=st.lists(st.binary(max_size=12), max_size=3),
    extra=st.fixed_dictionaries({}, optional={"dtype": TEXT, "pd_dtype": TEXT}),
)
def test_any_content_is_decoded_or_refused(
    content_type: str, elements: list[bytes], extra: dict[str, str]
) -> None:
    array = np.empty(len(elements), object)
    array[:] = elements
    tensor = Tensor.of("x", array, {"content_type": content_type, **extra})
    with contextlib.suppress(ContentError):
        REGISTRY.decode(tensor)


class FakeTorchTensor:
    """As much of torch's tensor as the codec uses."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.dtype = None

    def detach(self) -> FakeTorchTensor:
        return self

    cpu = contiguous = detach

    def numpy(self) -> Any:
        return self.array


def test_torch_tensors_are_known_without_importing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    kind = type("Tensor", (FakeTorchTensor,), {"__module__": "torch"})
    fake = types.ModuleType("torch")
    fake.bfloat16, fake.int16, fake.from_numpy = object(), object(), kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", fake)

    tensor = REGISTRY.encode("x", kind(np.ones(2, "f4")))

    assert tensor.parameters == {"content_type": "torch"}
    assert REGISTRY.decode(tensor).array.tolist() == [1, 1]
    assert REGISTRY.for_hint(kind) is REGISTRY.named("torch")
