"""A small convolutional network that reads handwritten digits of 8x8 pixels, each 0 to 16."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.unsqueeze(1) / 16)


class Reader:
    """A trained network, on a GPU if this process has one."""

    def __init__(self, weights: str) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = Network().to(self.device).eval()
        if not Path(weights).exists():
            raise FileNotFoundError(f"there is no {weights}: make it with `python -m digits.train`")
        self.network.load_state_dict(torch.load(weights, map_location=self.device))

    @torch.inference_mode()
    def read(self, images: list) -> list[int]:
        """The digit on each of the images."""
        pixels = torch.tensor(images, dtype=torch.float32, device=self.device)
        return self.network(pixels).argmax(1).tolist()
