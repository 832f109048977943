"""What comes next is made while the network is busy with what there is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item], *, threads: int, most: int) -> Iterator[Made]:
    """`make` of each item, in order, begun for up to `most` items before theirs is asked for, in so many threads.

    With one thread they are made one after the other, so that `make` may draw by chance. Raises what `make` raises.
    """
    begun: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads, "ahead") as pool:
        for item in items:
            begun.append(pool.submit(make, item))
            if len(begun) > most:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
