"""What a forked process gets before its entry point runs, and how it ends."""

from __future__ import annotations

import atexit
import gc
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NoReturn

import msgspec

from salver.engine.linux import die_with_parent, set_title
from salver.engine.seat import Seat

__all__ = ("CAUGHT", "Birth", "Entry", "current_environment", "live", "thread_limits")

# Libraries that make one thread per core unless told otherwise.
THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)
# The keeper has handlers for these, which are not its children's.
CAUGHT: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INSTANCE_VARIABLE: Final = "SALVER_INSTANCE"
PROCESS_VARIABLE: Final = "SALVER_PROCESS"

Entry = Callable[[Seat], None]


class Birth(msgspec.Struct, frozen=True):
    """What the fork hands over to the child."""

    seat: Seat
    entry: Entry
    env: Mapping[str, str]
    num_cpus: float
    output: int  # becomes stdout and stderr
    parent: int


def current_environment() -> dict[str, str]:
    """What this process inherited."""
    return dict(os.environ)


def thread_limits(num_cpus: float, env: Mapping[str, str]) -> dict[str, str]:
    """One thread per CPU asked for, at least one, where the user has not said otherwise."""
    threads = str(max(1, int(num_cpus)))
    return {name: threads for name in THREAD_VARIABLES if name not in env}


def live(birth: Birth) -> NoReturn:
    """Turn this fresh fork into the process of `birth`; never returns into the keeper's code."""
    code = 1
    try:
        code = _live(birth)
    finally:
        # Not sys.exit: the stack above belongs to the keeper, and tearing down the interpreter
        # would touch, and so copy, every page that is shared with it.
        os._exit(code)


def _live(birth: Birth) -> int:
    """Run to the end; the exit code."""
    code = 1
    try:
        die_with_parent(birth.parent)
        _reset_signals()
        _set_stdio(birth.output)
        _close_all_but(birth.seat.fds.values())
        _set_environment(birth)
        set_title(_comm(birth.seat), _title(birth.seat))
        _reseed()
        gc.enable()
        birth.entry(birth.seat)
        code = 0
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:  # noqa: BLE001 - boundary: the traceback goes to the log, the code to the keeper
        traceback.print_exc()
    _last_words()
    return code


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in CAUGHT:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_stdio(output: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target, inheritable=True)
    # Line by line: the words of a process that is killed must not sit in its buffer.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _close_all_but(keep: Iterable[int]) -> None:
    low = 3
    for fd in sorted(keep):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def _set_environment(birth: Birth) -> None:
    env = dict(birth.env)
    env |= thread_limits(birth.num_cpus, {**os.environ, **env})
    env[INSTANCE_VARIABLE] = birth.seat.instance
    env[PROCESS_VARIABLE] = birth.seat.id
    os.environ.update(env)


def _comm(seat: Seat) -> str:
    if seat.kind == "replica":
        return "salver:" + seat.id.split("#")[-2 if "#" in seat.id else 0]
    return f"salver:{seat.kind}"


def _title(seat: Seat) -> str:
    return f"salver: {seat.kind}" if seat.id == seat.kind else f"salver: {seat.kind} {seat.id}"


def _reseed() -> None:
    """Siblings share the keeper's memory; they must not share its random numbers."""
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)  # noqa: T201 - as the interpreter itself does
    return 1


def _last_words() -> None:
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - boundary: nothing may keep the process from ending
        traceback.print_exc()
