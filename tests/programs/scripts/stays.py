"""Blocks until Ctrl-C, as `serve.run(app, blocking=True)` does."""

from salver import serve


@serve.deployment
def hello() -> str:
    return "hello"


print("starting", flush=True)
try:
    serve.run(hello.bind(), blocking=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
