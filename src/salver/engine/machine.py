"""What this machine has: looked up without importing any accelerator's library."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from salver.engine.config import KeeperConfig

__all__ = ("Machine", "detect", "found_gpus")


class Machine(msgspec.Struct, frozen=True):
    """What may be handed out. `gpus` are the names that CUDA_VISIBLE_DEVICES knows them by."""

    num_cpus: float
    gpus: tuple[str, ...] = ()
    memory: float = 0.0
    custom: dict[str, float] = {}


def detect(config: KeeperConfig, env: Mapping[str, str], root: Path = Path("/")) -> Machine:
    """What the user declared, and what is found where nothing was declared."""
    gpus = found_gpus(env, root)
    if config.num_gpus is not None:
        wanted = int(config.num_gpus)
        gpus = gpus or _visible(env)  # where the driver's files are elsewhere, as in WSL
        spare = (str(i) for i in range(wanted) if str(i) not in gpus)
        gpus = (*gpus[:wanted], *spare)[:wanted]
    return Machine(
        num_cpus=_found_cpus(root) if config.num_cpus is None else config.num_cpus,
        gpus=gpus,
        memory=_found_memory(root) if config.memory is None else config.memory,
        custom={**_found_models(root), **config.resources},
    )


def found_gpus(env: Mapping[str, str], root: Path = Path("/")) -> tuple[str, ...]:
    """GPUs of the driver, or those of them that the owner may see."""
    visible = env.get("CUDA_VISIBLE_DEVICES")
    driver = root / "proc/driver/nvidia/gpus"
    count = len(list(driver.iterdir())) if driver.is_dir() else 0
    if count == 0 and (devices := root / "dev").is_dir():
        count = sum(1 for d in devices.iterdir() if re.fullmatch(r"nvidia\d+", d.name))
    if visible is None:
        return tuple(str(i) for i in range(count))
    return _visible(env, count)


def _visible(env: Mapping[str, str], count: int | None = None) -> tuple[str, ...]:
    """What the owner may see of so many GPUs; None: nobody knows how many there are."""
    names = [name.strip() for name in env.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    # CUDA itself ignores everything from the first name on that is no device.
    end = next((i for i, name in enumerate(names) if _is_none(name, count)), len(names))
    return tuple(names[:end]) if count != 0 else ()


def _is_none(name: str, count: int | None) -> bool:
    beyond = count is not None and name.isdecimal() and int(name) >= count
    return beyond or name in ("", "-1", "NoDevFiles")


def _found_models(root: Path) -> dict[str, float]:
    """Which models of GPU there are, by the names that Ray's users know: "NVIDIA H100 80GB"."""
    found: dict[str, float] = {}
    for gpu in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        model = re.search(r"Model:\s*\S+\s+(?:Tesla\s+)?([A-Z0-9]+)", gpu.read_text())
        if model is not None:
            name = f"accelerator_type:{model.group(1)}"
            found[name] = found.get(name, 0.0) + 1.0
    return found


def _found_cpus(root: Path) -> float:
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = (root / "sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, max(1.0, int(quota) / int(period)))


def _found_memory(root: Path) -> float:
    total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        limit = (root / "sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return total if limit == "max" else min(total, float(limit))
