"""One typed method that every protocol answers. Run it: `salver run endpoint:app`

curl http://127.0.0.1:8000/ -d '{"vectors": [[3, 4]]}'
curl http://127.0.0.1:8000/v1/models/Vectors:predict -d '{"instances": [[3, 4]]}'
curl http://127.0.0.1:8000/v2/models/Vectors/infer -d '{"inputs":
    [{"name": "vectors", "shape": [1, 2], "datatype": "FP32", "data": [3, 4]}]}'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np

import salver

Matrix = Annotated[np.ndarray, salver.Field("FP32", (-1, -1))]


@salver.deployment
class Vectors:
    @salver.endpoint
    def normalise(self, vectors: Matrix, order: float = 2.0) -> Matrix:
        """Vectors of length one. `order` is that of the norm."""
        lengths = np.linalg.norm(vectors, ord=order, axis=1, keepdims=True)
        return vectors / np.maximum(lengths, 1e-12)

    @salver.endpoint(name="countdown")
    def count(self, text_input: str, start: int = 3) -> Iterator[str]:
        """What yields is a stream of events."""
        for number in range(start, 0, -1):
            yield f"{text_input} {number}"


app = Vectors.bind()
