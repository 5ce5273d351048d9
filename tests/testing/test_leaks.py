"""What is left behind is found."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from salver.testing import leaks


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_PATIENCE_S", 0.05)


def test_nothing_left_passes() -> None:
    with leaks.no_leaks():
        subprocess.run([sys.executable, "-c", ""], check=True)
        socket.socket().close()


def test_an_open_socket_is_named() -> None:
    opened = []
    with pytest.raises(AssertionError, match=r"descriptor \d+ socket:"), leaks.no_leaks():
        opened.append(socket.socket())
    opened.pop().close()


def test_a_thread_is_named() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="forgotten")
    with pytest.raises(AssertionError, match=r"thread 'forgotten'"), leaks.no_leaks():
        thread.start()
    done.set()
    thread.join()


def test_a_process_is_named_even_when_its_parent_is_gone() -> None:
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], stdout=2).pid)"
    with pytest.raises(AssertionError, match=r"process (\d+) 'sleep 60'"), leaks.no_leaks():
        run = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    os.kill(int(run.stdout), 9)


def test_a_census_finds_children_and_their_children_and_forgets_them_when_they_end() -> None:
    census = leaks.Census()
    before = census.take()
    code = "import subprocess, sys; child = subprocess.Popen(['sleep', '60'], env={}, stdout=2); "
    code += "print(child.pid, flush=True); sys.stdin.read(); child.kill(); child.wait()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        for one in (census, leaks.Census()):
            assert {parent.pid, child} <= one.take() - before
    assert not {parent.pid, child} & census.take()
