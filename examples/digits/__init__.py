"""From a trained network to a service, in six steps: train.py, then a file for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Args:
    """What the function `build` of every step is given: `weights=digits.pt`."""

    weights: str = "digits.pt"  # where train.py has put them
