"""Calls the models of `endpoint.py`: `salver run endpoint:app`, and then `python client.py`."""

from __future__ import annotations

import sys

import numpy as np

from salver.client import Client, InputError


def main(url: str = "http://127.0.0.1:8000") -> None:
    with Client(url) as client:
        vectors = client.model("Vectors")
        print(vectors(np.array([[3, 4], [0, 2]], np.float32)).tolist())
        try:
            vectors(np.array([[3, 4]]))  # int64
        except InputError as error:
            print(error)
        for item in client.model("countdown").stream("in", start=2):
            print(item)


if __name__ == "__main__":
    main(*sys.argv[1:])
