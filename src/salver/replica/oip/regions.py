"""System shared memory: tensors that lie in regions which a client on this machine has named."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from salver.oip.errors import InvalidMessageError
from salver.oip.posix_memory import Memory
from salver.oip.repository import Region
from salver.oip.types import InferRequest, InferResponse, Tensor

if TYPE_CHECKING:
    from salver.oip.metadata import SharedMemoryRegion
    from salver.oip.state import InferenceState

__all__ = ("Regions",)

_KEPT: Final = 64
_AT: Final = ".parameters.shared_memory_region"


class Regions:
    """Opens what is registered when it is first used, and forgets what is not any more."""

    def __init__(self) -> None:
        self._state: InferenceState | None = None
        self._open: OrderedDict[SharedMemoryRegion, Memory] = OrderedDict()

    def read(self, request: InferRequest, state: InferenceState | None) -> None:
        """Give the inputs that lie in regions their contents, as they are now."""
        for index, tensor in enumerate(request.inputs):
            if tensor.data is not None:
                continue
            try:
                place = Region.of(tensor.parameters)
                if place is not None:
                    contents = self._read(place, state)
                    found = Tensor.raw(tensor.name, tensor.datatype, tensor.shape, contents)
                    tensor.data = found.data
            except InvalidMessageError as error:
                raise error.under(f"$.inputs[{index}]") from None

    def write(
        self, request: InferRequest, response: InferResponse, state: InferenceState | None
    ) -> None:
        """Put the outputs that were asked for in regions there."""
        given = {tensor.name: tensor for tensor in response.outputs}
        for index, output in enumerate(request.outputs):
            try:
                place = Region.of(output.parameters)
                if place is not None and output.name in given:
                    self._put(given[output.name], place, state)
            except InvalidMessageError as error:
                raise error.under(f"$.outputs[{index}]") from None

    def _put(self, tensor: Tensor, place: Region, state: InferenceState | None) -> None:
        contents = tensor.contents()
        if len(contents) > place.byte_size:
            raise InvalidMessageError(
                f"output {tensor.name!r} has {len(contents)} bytes, "
                f"shared_memory_byte_size is {place.byte_size}",
                ".parameters.shared_memory_byte_size",
            )
        memory = self._memory(place, state)
        try:
            memory.write(place.offset, contents)
        except InvalidMessageError as error:
            raise error.under(_AT) from None
        tensor.data = None
        tensor.parameters = {
            "shared_memory_region": place.name,
            "shared_memory_byte_size": len(contents),
        } | ({"shared_memory_offset": place.offset} if place.offset else {})

    def _read(self, place: Region, state: InferenceState | None) -> memoryview:
        memory = self._memory(place, state)
        try:
            return memory.read(place.offset, place.byte_size)
        except InvalidMessageError as error:
            raise error.under(_AT) from None

    def _memory(self, place: Region, state: InferenceState | None) -> Memory:
        regions = state.regions if state is not None else ()
        region = next((r for r in regions if r.name == place.name), None)
        if region is None:
            raise InvalidMessageError(f"region {place.name!r:.60} is not registered", _AT)
        if place.offset + place.byte_size > region.byte_size:
            raise InvalidMessageError(
                f"{place.byte_size} bytes at {place.offset} are outside of region "
                f"{place.name!r:.60} of {region.byte_size} bytes",
                _AT,
            )
        if state is not self._state:  # what was registered anew may be other memory
            self._state = state
            self._open.clear()
        memory = self._open.get(region)
        if memory is None:
            try:
                memory = self._open[region] = Memory(region)
            except InvalidMessageError as error:  # it was there when it was registered
                raise error.under(_AT) from None
            if len(self._open) > _KEPT:
                self._open.popitem(last=False)
        return memory
