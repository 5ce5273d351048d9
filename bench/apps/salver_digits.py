"""What Salver serves of the digits case, which needs torch."""

from __future__ import annotations

from bench.apps import digits as programs
from salver import serve

MANY = 256

digits = serve.deployment(max_ongoing_requests=MANY)(programs.Single).bind()
digits_batch = serve.deployment(max_ongoing_requests=MANY)(programs.batched(serve.batch)).bind()
digits_loop = serve.deployment(programs.Loop).bind()
