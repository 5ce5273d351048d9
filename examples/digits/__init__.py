"""From a trained network to a service, in six steps: train.py, then a file for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Args:
    """What `salver run digits.serve:build weights=digits.pt` gives the function `build`."""

    weights: str = "digits.pt"  # where train.py has put them
