"""`python -m salver` is the command `salver`."""

from __future__ import annotations

from salver.cli.main import main

if __name__ == "__main__":
    main()
