"""Blocks until Ctrl-C, as `serve.run(app, blocking=True)` does, and `run_many`, if asked to.

Asked to, it has its keeper killed meanwhile, or shuts down in a thread.
"""

import os
import signal
import sys
import threading

from salver import api, serve

stay = api._stay


@serve.deployment
def hello() -> str:
    return "hello"


def tell_and_stay() -> None:
    if "killed" in sys.argv:
        os.kill(api.session._instance.keeper.pid, signal.SIGKILL)
    if "shutdown" in sys.argv:
        threading.Thread(target=serve.shutdown).start()
    print("blocks", flush=True)
    stay()


api._stay = tell_and_stay
try:
    serve.run(hello.bind(), name="first", route_prefix=None)
    if "many" in sys.argv:
        serve.run_many([serve.RunTarget(hello.bind())], blocking=True)
    else:
        serve.run(hello.bind(), blocking=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
print("returned", flush=True)
