"""What is handed out: never more than there is, and all of it comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.ports import Resources
from salver.engine.config import KeeperConfig
from salver.engine.devices import UNIT, Devices
from salver.engine.machine import Machine, detect, found_gpus
from salver.errors import CapacityError, EngineError

GIB = 2**30


def devices(cpus: float = 4, gpus: int = 2) -> Devices:
    names = tuple(str(i) for i in range(gpus))
    return Devices(Machine(cpus, names, 8.0 * GIB, {"licence": 1.0}))


def test_what_is_taken_is_not_free_and_comes_back() -> None:
    stock = devices()
    wanted = Resources(1.5, 1, 2.0 * GIB, {"licence": 1.0})
    assert stock.take("a", wanted).visible_devices == "0"
    assert stock.free == Resources(2.5, 1, 6.0 * GIB, {"licence": 0.0})
    stock.give_back("a")
    assert stock.free == stock.total


def test_the_error_says_what_was_asked_what_is_free_and_what_there_is() -> None:
    stock = devices(cpus=2, gpus=1)
    stock.take("a", Resources(num_cpus=1))
    message = "needs num_cpus=2 (1 free of 2), num_gpus=3 (1 free of 1), memory=1024 MiB (8192 MiB"
    with pytest.raises(CapacityError, match=f"^{re.escape(message)} free of 8192 MiB\\)$"):
        stock.take("b", Resources(2, 3, 1.0 * GIB))


def test_an_unknown_resource_is_short() -> None:
    with pytest.raises(CapacityError, match=r"tpu=1 \(0 free of 0\)"):
        devices().take("a", Resources(custom={"tpu": 1}))


def test_what_declares_nothing_is_never_held_back() -> None:
    stock = devices(cpus=1, gpus=0)
    stock.take("a", Resources(num_cpus=1))
    stock.take("b", Resources())


def test_shares_are_packed_so_that_whole_devices_stay_whole() -> None:
    stock = devices(gpus=2)
    assert stock.take("a", Resources(num_gpus=0.5)).visible_devices == "0"
    assert stock.take("b", Resources(num_gpus=0.3)).visible_devices == "0"
    assert stock.take("c", Resources(num_gpus=1)).visible_devices == "1"
    assert stock.take("d", Resources(num_gpus=0.2)).visible_devices == "0"
    with pytest.raises(CapacityError):
        stock.take("e", Resources(num_gpus=0.1))


def test_free_shares_of_two_devices_make_no_whole_one() -> None:
    stock = devices(gpus=2)
    stock.take("a", Resources(num_gpus=0.6))
    stock.take("b", Resources(num_gpus=0.6))
    with pytest.raises(CapacityError, match=r"num_gpus=0.8 \(0.8 free of 2\)"):
        stock.take("c", Resources(num_gpus=0.8))


@pytest.mark.parametrize("wanted", [Resources(num_gpus=1.5), Resources(num_cpus=-1)])
def test_what_can_never_be_given_is_refused_for_good(wanted: Resources) -> None:
    with pytest.raises(EngineError) as caught:
        devices().take("a", wanted)
    assert not isinstance(caught.value, CapacityError)


def test_fits_asks_of_the_whole_machine() -> None:
    stock = devices(cpus=2, gpus=0)
    stock.take("a", Resources(num_cpus=2))
    assert stock.fits(Resources(num_cpus=2))
    assert not stock.fits(Resources(num_gpus=1))


amounts = st.builds(
    Resources,
    num_cpus=st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 1.0, 2.0]),
    num_gpus=st.sampled_from([0.0, 0.1, 1 / 3, 0.25, 0.5, 1.0, 2.0]),
)


@given(st.lists(st.tuples(st.integers(0, 9), amounts), max_size=60))
def test_no_device_is_ever_given_twice(steps: list[tuple[int, Resources]]) -> None:
    """Take and give back in any order: shares never exceed a device, and all comes back."""
    stock = devices()
    held: dict[str, tuple[tuple[str, int], ...]] = {}
    for number, wanted in steps:
        name = str(number)
        if name in held:
            stock.give_back(name)
            del held[name]
            continue
        try:
            held[name] = stock.take(name, wanted).gpus
        except CapacityError:
            assert name not in held
        used: dict[str, int] = {}
        for gpu, share in (pair for gpus in held.values() for pair in gpus):
            used[gpu] = used.get(gpu, 0) + share
        assert all(share <= UNIT for share in used.values())
        assert stock.free.num_cpus >= 0
    for name in held:
        stock.give_back(name)
    assert stock.free == stock.total


def with_gpus(root: Path, count: int) -> Path:
    for i in range(count):
        (root / "proc/driver/nvidia/gpus" / f"0000:0{i}:00.0").mkdir(parents=True)
    return root


def test_gpus_are_those_of_the_driver(tmp_path: Path) -> None:
    assert found_gpus({}, with_gpus(tmp_path, 3)) == ("0", "1", "2")


def test_gpus_are_found_by_their_device_files(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    assert found_gpus({}, tmp_path) == ("0", "1")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,0", ("2", "0")),
        ("", ()),
        ("-1", ()),
        ("GPU-abc, 1", ("GPU-abc", "1")),
        ("1,-1,0", ("1",)),
        ("1,3,0", ("1",)),
    ],
)
def test_only_what_the_owner_may_see_counts(
    visible: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    assert found_gpus({"CUDA_VISIBLE_DEVICES": visible}, with_gpus(tmp_path, 3)) == expected


def test_a_machine_without_gpus_has_none_whatever_the_variable_says(tmp_path: Path) -> None:
    assert found_gpus({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path) == ()


def test_what_is_declared_counts_and_not_what_is_there(tmp_path: Path) -> None:
    config = KeeperConfig("", {}, num_cpus=64, num_gpus=3, memory=1.0, resources={"tpu": 2})
    machine = detect(config, {"CUDA_VISIBLE_DEVICES": "2"}, with_gpus(tmp_path, 3))
    assert machine == Machine(64, ("2", "0", "1"), 1.0, {"tpu": 2})


def test_declared_gpus_that_no_driver_shows_are_those_that_the_owner_may_see(
    tmp_path: Path,
) -> None:
    machine = detect(KeeperConfig("", {}, num_gpus=2), {"CUDA_VISIBLE_DEVICES": "3,5,6"}, tmp_path)
    assert machine.gpus == ("3", "5")


def test_limits_of_the_container_count(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("100000 100000\n")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("1048576\n")
    machine = detect(KeeperConfig("", {}), {}, tmp_path)
    assert (machine.num_cpus, machine.memory) == (1.0, 1048576.0)
