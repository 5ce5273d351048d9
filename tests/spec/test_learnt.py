"""What threads read first is known to msgspec before them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from salver.oip.codecs.registry import built_in
from salver.oip.errors import UnservableError
from salver.oip.hints import slot_for
from salver.spec.learnt import learnt

looked: list[str] = []


def seen(kind: Any) -> Any:
    """Called by an annotation whenever somebody looks at it."""
    looked.append(kind.__name__)
    return kind


class Learnt(msgspec.Struct):
    number: seen(int)  # type: ignore[valid-type]


class OfUsers(msgspec.Struct):
    number: seen(int)  # type: ignore[valid-type]


def test_a_learnt_type_is_not_learnt_again_when_it_is_read() -> None:
    looked.clear()
    assert learnt(Learnt) is Learnt
    assert looked == ["int"]
    assert msgspec.json.decode(b'{"number": 1}', type=Learnt) == Learnt(1)
    assert looked == ["int"]


def test_an_endpoint_s_types_are_known_before_the_first_call() -> None:
    looked.clear()
    slot = slot_for(OfUsers, built_in())
    assert looked
    looked.clear()
    assert slot.from_plain({"number": 1}) == OfUsers(1)
    assert not looked


def test_annotations_that_msgspec_cannot_read_are_refused_before_the_first_call() -> None:
    class Unread(msgspec.Struct):
        number: not_defined  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError):
        learnt(Unread)
    with pytest.raises(UnservableError, match=r"^name 'not_defined' is not defined\. Import what"):
        slot_for(Unread, built_in())


RACE = """
import sys, threading
import msgspec
from importlib import import_module
module, _, name = sys.argv[1].partition(":")
kind = getattr(import_module(module), name)
sys.setswitchinterval(1e-6)
together = threading.Barrier(8)

def read():
    together.wait()
    msgspec.json.decode(sys.argv[2], type=kind)

threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
TENSOR = '{"name": "x", "datatype": "FP32", "shape": [1]}'
READ_IN_THREADS = {
    "salver.cli.building:Built": '{"files": ["a"], "mistakes": [{"path": ["a"], "message": "b"}]}',
    "salver.oip.metadata:ModelMetadata": '{"name": "m", "platform": "p", '
    f'"inputs": [{TENSOR}], "outputs": [{TENSOR}]}}',
    "salver.oip.jsonread:RequestEnvelope": f'{{"inputs": [{TENSOR}]}}',
}


@pytest.mark.parametrize("kind", READ_IN_THREADS)
def test_threads_may_read_it_first_at_the_same_time(kind: str) -> None:
    for _ in range(3):
        command = [sys.executable, "-c", RACE, kind, READ_IN_THREADS[kind]]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")
