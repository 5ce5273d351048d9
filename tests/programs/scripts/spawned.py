"""A handle goes to processes that multiprocessing spawns, and into threads of this one."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from salver import serve


@serve.deployment
class Adder:
    def __call__(self, number: int) -> int:
        return number + 1

    def count(self, upto: int):
        yield from range(upto)


def elsewhere(handle, number: int) -> list:
    items = list(handle.options(stream=True).count.remote(3))
    return [handle.remote(number).result(), items]


def queued(handle, queue) -> None:
    queue.put(handle.remote(9).result())


if __name__ == "__main__":
    handle = serve.run(Adder.bind(), route_prefix=None)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        print(pool.starmap(elsewhere, [(handle, 1), (handle, 2)]))
    queue = context.Queue()
    process = context.Process(target=queued, args=(handle, queue))
    process.start()
    print(queue.get())
    process.join()
    with ThreadPoolExecutor(4) as pool:
        print(list(pool.map(lambda n: handle.remote(n).result(), range(4))))
