"""How scikit-learn keeps and sorts the k nearest: what decides between equal distances. Scalars alone.

TorchScript compiles these functions too, so their annotations are evaluated, not deferred.
"""

from typing import List  # noqa: UP035 (TorchScript reads it)


def push(values: List[float], indices: List[int], value: float, index: int) -> None:  # noqa: UP006
    """Push one element onto a max-heap of fixed size, unless it is not below the largest.

    Source: sklearn.utils._heap.heap_push.
    """
    if not value < values[0]:
        return
    size, place, moving = len(values), 0, True
    while moving:
        child = 2 * place + 1
        if child + 1 < size and values[child] < values[child + 1]:
            child += 1
        moving = child < size and value < values[min(child, size - 1)]
        if moving:
            values[place], indices[place] = values[child], indices[child]
            place = child
    values[place], indices[place] = value, index


def swap(values: List[float], order: List[int], a: int, b: int) -> None:  # noqa: UP006
    """Exchange two elements of both lists."""
    values[a], values[b] = values[b], values[a]
    order[a], order[b] = order[b], order[a]


def median_last(values: List[float], order: List[int], start: int, stop: int) -> float:  # noqa: UP006
    """Move the median of first, middle and last to the end, the smallest to the front. Result: the median.

    Source: sklearn.utils._sorting.inplace_median3.
    """
    middle, last = start + (stop - start) // 2, stop - 1
    if values[start] > values[last]:
        swap(values, order, start, last)
    if values[last] > values[middle]:
        swap(values, order, last, middle)
        if values[start] > values[last]:
            swap(values, order, start, last)
    return values[last]


def insertion_sort(values: List[float], order: List[int], start: int, stop: int) -> None:  # noqa: UP006
    """Sort a part, equal elements in their order."""
    for i in range(start + 1, stop):
        j = i
        while j > start and values[j - 1] > values[j]:
            swap(values, order, j - 1, j)
            j -= 1


def sift_down(values: List[float], order: List[int], begin: int, root: int, count: int) -> None:  # noqa: UP006
    """Restore the heap order of the part that begins at `begin`, from `root` on. Source: _sorting.sift_down."""
    moving = True
    while moving:
        child, largest = 2 * root + 1, root
        if child < count and values[begin + largest] < values[begin + child]:
            largest = child
        if child + 1 < count and values[begin + largest] < values[begin + child + 1]:
            largest = child + 1
        moving = largest != root
        if moving:
            swap(values, order, begin + root, begin + largest)
            root = largest


def heap_sort(values: List[float], order: List[int], start: int, stop: int) -> None:  # noqa: UP006
    """Sort a part by a heap. Source: sklearn.utils._sorting.heapsort."""
    count = stop - start
    for root in range((count - 2) // 2, -1, -1):
        sift_down(values, order, start, root, count)
    for last in range(count - 1, 0, -1):
        swap(values, order, start, start + last)
        sift_down(values, order, start, 0, last)


def meet(values: List[float], order: List[int], start: int, stop: int, pivot: float) -> int:  # noqa: UP006
    """Part [start, stop) about its last element, from both ends. Result: the pivot's place.

    Source: sklearn.utils._sorting.introsort_2way.
    """
    i, j, parting = start + 1, stop - 2, True
    while parting:
        while i <= j and values[i] < pivot:
            i += 1
        while i <= j and values[j] > pivot:
            j -= 1
        parting = i < j
        if parting:
            swap(values, order, i, j)
            i += 1
            j -= 1
    swap(values, order, i, stop - 1)
    return i


def introsort(values: List[float], order: List[int]) -> None:  # noqa: UP006
    """Sort both lists by `values`. Source: sklearn.utils._sorting.simultaneous_sort."""
    depth, count = 0, len(values)
    while count > 1:
        depth += 2
        count = count // 2
    parts = [[0, len(values), depth]]
    while len(parts) > 0:
        start, stop, allowed = parts.pop()
        if stop - start <= 15:  # the longest part that is left to insertion sort
            insertion_sort(values, order, start, stop)
        elif allowed <= 0:
            heap_sort(values, order, start, stop)
        else:
            place = meet(values, order, start, stop, median_last(values, order, start, stop))
            parts.append([start, place, allowed - 1])
            parts.append([place + 1, stop, allowed - 1])


def quicksort(values: List[float], order: List[int]) -> None:  # noqa: UP006
    """Sort both lists by `values`. Source: sklearn.utils._sorting.simultaneous_sort of older versions."""
    parts = [[0, len(values)]]
    while len(parts) > 0:
        start, stop = parts.pop()
        size = stop - start
        if size == 2 and values[start] > values[start + 1]:
            swap(values, order, start, start + 1)
        elif size == 3:
            insertion_sort(values, order, start, stop)
        elif size > 3:
            pivot, place = median_last(values, order, start, stop), start
            for i in range(start, stop - 1):
                if values[i] < pivot:
                    swap(values, order, i, place)
                    place += 1
            swap(values, order, place, stop - 1)
            parts.append([start, place])
            parts.append([place + 1, stop])
