"""A module that was loaded from its file and that no other process can import by its name."""

import importlib.util
import sys
from pathlib import Path

from salver import serve

spec = importlib.util.spec_from_file_location(
    "plugins.answering", Path(__file__).parent / "hidden" / "answering.py"
)
module = importlib.util.module_from_spec(spec)
sys.modules["plugins.answering"] = module
spec.loader.exec_module(module)
handle = serve.run(module.Answering.bind(module.Question("life")), route_prefix=None)
print(handle.answer.remote().result())
