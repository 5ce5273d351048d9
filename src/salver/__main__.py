"""The command `salver`, which is `python -m salver` too."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

from salver.engine.spawn import Spawned
from salver.processes import PROCESSES

__all__ = ("main",)

# Loaded once the keeper is on its way.
_COMMANDS: Final = "salver.cli.main"
_ASK: Final = {"-h", "--help"}


def main() -> None:
    """Let the keeper, which takes longest, begin while the command still loads its own code."""
    given = sys.argv[1:]
    spawned = None
    if given[:1] == ["run"] and _ASK.isdisjoint(given):
        spawned = Spawned(entry.partition(":")[0] for entry in PROCESSES.values())
    try:
        import_module(_COMMANDS).main(obj=spawned)
    except KeyboardInterrupt:  # before click is there to take it
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    finally:
        if spawned is not None:
            spawned.close()


if __name__ == "__main__":
    main()
