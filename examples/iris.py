"""A scikit-learn classifier behind the Open Inference Protocol. Run it: `salver run iris:app`

Any client of the protocol can call it: that of Triton, of KServe, or curl.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import salver

Flowers = Annotated[np.ndarray, salver.Field("FP32", (-1, 4), description="sepals and petals, cm")]
Scores = Annotated[np.ndarray, salver.Field("FP32", (-1, 3), name="scores")]
LABELS = ["setosa", "versicolor", "virginica"]


@salver.deployment(num_replicas=2)
class Iris:
    def __init__(self) -> None:
        flowers = load_iris()
        self.model = LogisticRegression(max_iter=1000).fit(flowers.data, flowers.target)

    @salver.endpoint(name="iris", version="1", labels=LABELS)
    def predict(self, flowers: Flowers) -> Scores:
        """How likely each flower is of each kind."""
        return self.model.predict_proba(flowers).astype("float32")


app = Iris.bind()
