"""Models whose arguments are those of libraries that take their time to load."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import pandas as pd
import torch
from PIL import Image

import salver


@salver.deployment
class Heavy:
    @salver.endpoint(name="torch")
    def torched(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @salver.endpoint(name="frame")
    def frame(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(total=table.sum(axis=1, numeric_only=True))

    @salver.endpoint(name="picture")
    def picture(self, image: Image.Image) -> list[int]:
        return list(image.size)


heavy = Heavy.bind()
