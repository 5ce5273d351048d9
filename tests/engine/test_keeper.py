"""The keeper with real processes: it starts them, says how they end, and leaves none behind."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from salver.engine.config import KeeperConfig, Listen
from salver.engine.messages import Restarted
from salver.engine.owner import KeeperProcess
from salver.engine.spawn import PROGRAM
from salver.errors import EngineError
from tests.engine.rig import ENTRIES, PATIENCE_S, Rig, wait_gone

Start = Callable[..., Rig]


def ask_door(rig: Rig) -> int:
    with socket.create_connection(rig.keeper.addresses["http"], timeout=PATIENCE_S) as client:
        return int(client.recv(64))


def hears(rig: Rig, kind: type) -> object:
    """The next thing of this kind that the keeper says."""
    while True:
        assert select.select([rig.keeper], [], [], PATIENCE_S)[0]
        message = rig.keeper.poll()
        assert message is not None, "the keeper has ended"
        if isinstance(message, kind):
            return message


def trouble_of(rig: Rig) -> str:
    """Why it ends."""
    while (trouble := rig.keeper.trouble()) is None:
        assert select.select([rig.keeper], [], [], PATIENCE_S)[0]
    return str(trouble)


def pids_of(rig: Rig) -> list[int]:
    control = rig.control()
    return [rig.keeper.pid, control.ask("pid"), *(p["pid"] for p in control.ask("list"))]


# ---- beginning


def test_dialling_works_before_anything_is_imported(start: Start) -> None:
    """The addresses are bound first: who comes early waits in the backlog."""
    rig = start()
    assert rig.control().ask("list")
    assert ask_door(rig) > 0


def test_an_entry_that_cannot_be_imported_is_told_to_the_owner(start: Start) -> None:
    rig = start(entries={"ingress": "no_such_module:main"})
    assert "No module named 'no_such_module'" in trouble_of(rig)


def test_what_was_forked_before_a_failing_import_ends_with_it(start: Start) -> None:
    rig = start(entries={"controller": "entries:controller", "replica": "no_such_module:main"})
    assert "No module named 'no_such_module'" in trouble_of(rig)
    assert not Path(rig.instance).exists()  # and the fixtures find no process


def test_what_is_too_long_to_be_told_is_refused(tmp_path: Path) -> None:
    long = {"controller": {"NAME": "x" * (1 << 20)}}
    config = KeeperConfig(str(tmp_path), ENTRIES, (Listen(port=0),), env=long)
    with pytest.raises(EngineError, match=r"takes \d+ bytes, and does not fit into a message"):
        KeeperProcess.start(config)


def test_a_port_in_use_is_told_to_the_owner(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            EngineError, match=rf"127.0.0.1:{port}: the port is in use.*--port, or http_options"
        ):
            start(listen=(Listen(port=port),))


def test_the_keeper_has_one_thread_and_no_event_loop_library_of_its_own(start: Start) -> None:
    rig = start(entries={"ingress": "entries:door"})
    assert ask_door(rig) > 0
    status = Path(f"/proc/{rig.keeper.pid}/status").read_text()
    assert "Threads:\t1\n" in status


# ---- what a process gets


def test_a_process_gets_its_environment_its_name_and_nothing_of_its_siblings(start: Start) -> None:
    rig = start(num_cpus=4, num_gpus=2, env={"replica": {"WORD": "keeper"}})
    control = rig.control()
    needs = {"num_cpus": 2.5, "num_gpus": 1}
    control.start("app#Model#1", "tell", resources=needs, env={"MKL_NUM_THREADS": "7"})
    facts = json.loads(rig.log.wait_for("facts").split("facts ", 1)[1])
    assert facts["omp"] == "2"
    assert facts["mkl"] == "7"
    assert facts["cuda"] == "0"
    assert facts["word"] == "keeper"
    assert facts["comm"] == "salver:Model"
    assert facts["title"] == "salver: replica app#Model#1"
    assert facts["stdin"] == ""
    assert facts["labels"] == {"do": "tell"}
    assert len(facts["fds"]) == 4  # stdio, and the one that lists them


def test_siblings_share_no_random_numbers(start: Start) -> None:
    rig = start()
    control = rig.control()
    for name in ("a", "b"):
        control.start(name, "tell")
    values = {rig.log.wait_for(f"[{n}] facts").split('"random": ')[1][:12] for n in "ab"}
    assert len(values) == 2


def test_what_asks_for_no_gpu_sees_none(start: Start) -> None:
    rig = start(num_gpus=1)
    rig.control().start("a", "tell")
    assert json.loads(rig.log.wait_for("facts").split("facts ", 1)[1])["cuda"] == ""


def test_a_further_process_is_forked_and_starts_no_interpreter(start: Start) -> None:
    """That makes it cheap: what the keeper has imported is there already."""
    rig = start()
    further = rig.control().start("a", "tell")
    rig.log.wait_for("facts")
    # Where its arguments lie: an interpreter of its own would have them at a place of its own.
    begun = [Path(f"/proc/{pid}/stat").read_text().split()[-5] for pid in (further, rig.keeper.pid)]
    assert begun[0] == begun[1]
    status = Path(f"/proc/{further}/status").read_text()
    assert f"PPid:\t{rig.keeper.pid}\n" in status


# ---- how it ends


def test_exits_carry_their_cause(start: Start) -> None:
    rig = start()
    exits = rig.control()
    exits.watch()
    control = rig.control()
    for name, do in (("code", "exit"), ("error", "raise")):
        control.ask("start", process={"id": name, "kind": "replica", "labels": {"do": do}})
    killed, asked = control.start("killed"), control.start("asked")
    os.kill(killed, signal.SIGKILL)
    control.ask("stop", id="asked", force=False)
    seen = {e["id"]: e for e in (exits.next_exit() for _ in range(4))}
    assert seen["code"]["reason"] == "exit code 3"
    assert seen["error"]["reason"] == "exit code 1"
    assert seen["killed"]["reason"].startswith("killed by signal 9 (SIGKILL)")
    assert not seen["killed"]["asked"]
    assert seen["asked"]["reason"] == "killed by signal 15 (SIGTERM)"
    assert seen["asked"]["asked"]
    assert seen["asked"]["pid"] == asked
    assert rig.log.wait_for("ValueError: no") == "[error] ValueError: no weights"


def test_a_stop_reaches_a_newborn_and_nobody_else(start: Start) -> None:
    """Its handlers are not yet its own when the signal comes: the keeper's must not take it."""
    rig = start()
    exits = rig.control()
    exits.watch()
    control = rig.control()
    for number in range(30):
        process = {"id": f"p{number}", "kind": "replica", "labels": {"do": "wait"}}
        control.ask("start", process=process)
        control.ask("stop", id=f"p{number}", force=False)
    reasons = [exits.next_exit()["reason"] for _ in range(30)]
    assert reasons == ["killed by signal 15 (SIGTERM)"] * 30


def test_starting_the_same_id_twice_is_an_error(start: Start) -> None:
    control = start().control()
    control.start("a")
    with pytest.raises(RuntimeError, match="has been given its resources already"):
        control.start("a")


def test_a_process_with_too_much_to_carry_is_refused_and_holds_up_no_other(start: Start) -> None:
    control = start().control()
    with pytest.raises(RuntimeError, match=r"takes 3\d{5} bytes, and \d+ is the most"):
        control.start("a", env={"WORD": "x" * 300_000})
    control.start("a", env={"WORD": "x" * 100_000})


def test_a_process_that_ignores_sigterm_is_killed_by_force(start: Start) -> None:
    rig = start()
    control = rig.control()
    pid = control.start("a", "deaf")
    rig.log.wait_for("[a] lives")
    control.ask("stop", id="a", force=False)
    control.ask("stop", id="a", force=True)
    wait_gone(pid)


# ---- output


def test_lines_carry_the_name_and_the_last_words_are_not_lost(start: Start) -> None:
    rig = start()
    rig.control().ask(
        "start", process={"id": "app#M#1", "kind": "replica", "labels": {"do": "last_words"}}
    )
    assert rig.log.wait_for("without an end") == "[app#M#1] without an end"
    pieces = [line for line in rig.log.lines if "xxx" in line]
    assert all(line.startswith("[app#M#1] x") for line in pieces)
    assert sum(line.count("x") for line in pieces) == 20_000


def test_a_reader_that_stops_holds_up_the_writers_but_not_the_keeper_and_loses_nothing(
    start: Start, tmp_path: Path
) -> None:
    rig = start()
    control = rig.control()
    exits = rig.control()
    exits.watch()
    with rig.log._news:  # the reader of the log stands still
        control.ask("start", process={"id": "f", "kind": "replica", "labels": {"do": "flood"}})
        for i in range(20):
            pid = control.start(f"r{i}")
            os.kill(pid, signal.SIGKILL)
            assert exits.next_exit()["id"] == f"r{i}"
    rig.log.wait_for("flood is over")
    numbers = [int(line.split()[2]) for line in rig.log.lines if "] line " in line]
    assert numbers == list(range(20_000))


# ---- controller and ingress


def test_a_dead_controller_is_replaced_and_finds_everything_running(start: Start) -> None:
    rig = start(num_cpus=4)
    control = rig.control()
    replica = control.start("a", labels={"note": "x"}, resources={"num_cpus": 3})
    dead = control.ask("pid")
    os.kill(dead, signal.SIGKILL)
    wait_gone(dead)
    again = rig.control()
    assert again.ask("pid") != dead
    found = next(p for p in again.ask("list") if p["id"] == "a")
    assert found["pid"] == replica
    assert found["labels"]["note"] == "x"
    assert again.ask("capacity")[1]["num_cpus"] == 1
    with pytest.raises(RuntimeError, match=r"CapacityError: needs num_cpus=2 \(1 free of 4\)"):
        again.start("b", resources={"num_cpus": 2})


def test_what_died_without_a_controller_is_told_to_the_next(start: Start) -> None:
    rig = start()
    control = rig.control()
    replica = control.start("a")
    dead = control.ask("pid")
    os.kill(rig.keeper.pid, signal.SIGSTOP)  # so that both deaths are noticed together
    os.waitid(os.P_PID, rig.keeper.pid, os.WSTOPPED)
    os.kill(replica, signal.SIGKILL)
    os.kill(dead, signal.SIGKILL)
    os.kill(rig.keeper.pid, signal.SIGCONT)
    wait_gone(dead, replica)
    again = rig.control()
    again.watch()
    assert again.next_exit()["id"] == "a"


def test_a_dead_door_is_replaced_and_nobody_is_refused(start: Start) -> None:
    rig = start()
    first = ask_door(rig)
    os.kill(first, signal.SIGKILL)
    wait_gone(first)
    assert ask_door(rig) != first
    message = hears(rig, Restarted)
    assert isinstance(message, Restarted)
    assert (message.id, message.delay_s) == ("ingress", 0.0)


def test_what_dies_at_once_again_and_again_is_held_back(start: Start) -> None:
    rig = start(entries={"ingress": "entries:quick_death"})
    delays: list[float] = []
    while 0.4 not in delays:  # one that lives for a second on a slow machine begins the row anew
        message = hears(rig, Restarted)
        assert isinstance(message, Restarted)
        delays.append(message.delay_s)
    assert delays[-6:] == [0.0, 0.0, 0.0, 0.1, 0.2, 0.4]


# ---- the end: nothing survives


def test_stop_drains_first_then_ends_everything_and_clears_away(start: Start) -> None:
    rig = start()
    rig.control().start("a")
    pids = pids_of(rig)
    rig.keeper.stop()
    wait_gone(*pids)
    rig.log.wait_for("[controller] draining")
    assert not Path(rig.instance).exists()


def test_stop_ends_what_ignores_sigterm(start: Start) -> None:
    rig = start()
    pid = rig.control().start("a", "deaf")
    rig.log.wait_for("[a] lives")
    rig.keeper.stop()
    wait_gone(pid)


def test_sigterm_to_the_keeper_stops_everything(start: Start) -> None:
    rig = start()
    rig.control().start("a")
    pids = pids_of(rig)
    os.kill(rig.keeper.pid, signal.SIGTERM)
    wait_gone(*pids)


def test_nothing_survives_the_sigkill_of_the_keeper(start: Start) -> None:
    rig = start()
    control = rig.control()
    control.start("a")
    control.start("b", "grandchild")
    control.start("c", "forked_grandchild")
    grandchildren = [int(rig.log.wait_for(f"[{n}] grandchild is").split()[-1]) for n in "bc"]
    pids = pids_of(rig)
    os.kill(rig.keeper.pid, signal.SIGKILL)
    while rig.keeper.poll() is not None:
        pass
    wait_gone(*pids, *grandchildren)
    assert not Path(rig.instance).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_survives_the_owner(
    owner: tuple[subprocess.Popen[str], int, str], number: signal.Signals
) -> None:
    process, keeper, instance = owner
    rig = Rig(None, instance, None)  # type: ignore[arg-type]
    control = rig.control()
    pid = control.start("a", "grandchild")
    children = Path(f"/proc/{pid}/task/{pid}/children")
    grandchildren = [int(p) for p in children.read_text().split()]
    pids = [control.ask("pid"), *(p["pid"] for p in control.ask("list"))]
    process.send_signal(number)
    wait_gone(process.pid, keeper, *pids, *grandchildren)
    assert not Path(instance).exists()
    rig.close()


def test_a_keeper_that_fails_when_its_owner_is_gone_leaves_no_directory(tmp_path: Path) -> None:
    instance = tmp_path / "salver-x"
    instance.mkdir()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = KeeperConfig(str(instance), {"ingress": "no_such_module:main"}, (Listen(port=0),))
    with ours, theirs:
        ours.send(msgspec.json.encode(config))
        ours.close()
        fd = theirs.fileno()
        command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[2] / "src"), str(fd)]
        run = subprocess.run(command, pass_fds=(fd,), capture_output=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (1, b"")
    assert not instance.exists()


def test_an_owner_that_is_interrupted_while_it_starts_ends_its_keeper(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(keeper: KeeperProcess) -> None:
        started.append(keeper.pid)
        raise KeyboardInterrupt

    started: list[int] = []
    monkeypatch.setattr(KeeperProcess, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        KeeperProcess.start(KeeperConfig(str(tmp_path), ENTRIES, (Listen(port=0),))).wait_bound()
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_a_stop_right_after_the_start_is_not_lost(start: Start) -> None:
    """The owner may be quicker than the controller, whose answer alone ends the stop in time."""
    rig = start()
    rig.keeper.stop(timeout_s=3600)
    wait_gone(rig.keeper.pid)


@pytest.mark.parametrize("how", ["grandchild", "forked_grandchild"])
def test_what_users_started_dies_with_its_replica_and_others_are_left_alone(
    start: Start, how: str
) -> None:
    rig = start()
    control = rig.control()
    doomed = control.start("a", how)
    control.start("b", how)
    gone, stays = (int(rig.log.wait_for(f"[{n}] grandchild is").split()[-1]) for n in "ab")
    os.kill(doomed, signal.SIGKILL)
    wait_gone(gone)
    os.kill(stays, 0)


def test_a_controller_that_never_answers_ends_the_instance_with_its_last_words(
    start: Start,
) -> None:
    rig = start(entries={**ENTRIES, "controller": "entries:quick_death"})
    assert "tried 3 times, and ended with exit code 3. " in trouble_of(rig)
    wait_gone(rig.keeper.pid)
    assert not Path(rig.instance).exists()


def test_one_that_has_answered_is_started_again_however_often_it_dies(start: Start) -> None:
    rig = start()
    for _ in range(4):
        dead = rig.control().ask("pid")
        os.kill(dead, signal.SIGKILL)
        wait_gone(dead)
    assert rig.control().ask("pid")
