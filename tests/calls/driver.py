"""A user's script: calls in itself, in a thread, in a forked child; ends without closing."""

from __future__ import annotations

import os
import sys
import threading

from salver.calls.handle import DeploymentHandle
from salver.spec.ids import DeploymentId


def main(address: str) -> None:
    handle: DeploymentHandle[object] = DeploymentHandle(DeploymentId("echo", "app"), address)
    print(handle.remote("parent").result(timeout_s=60))
    thread = threading.Thread(target=lambda: print(handle.remote("thread").result()))
    thread.start()
    thread.join()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        print(handle.remote("child").result(timeout_s=60))
        sys.exit(0)  # with the exit handlers of both clusters
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(handle.remote("after").result(timeout_s=60))
    handle.hold.remote()  # never answered: the exit does not wait for it


if __name__ == "__main__":
    main(sys.argv[1])
