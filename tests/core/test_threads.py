"""Work on several threads comes back in order, and stays in the caller's thread where others would not help."""

import threading

import pytest
import torch

from pyterrier_xetrieval.core.threads import in_threads


@pytest.fixture
def threads():
    """Sets how many threads torch has, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def name(_item) -> str:
    return threading.current_thread().name


def test_results_are_in_the_order_of_the_items(threads):
    for n in (1, 2):
        threads(n)
        assert in_threads(lambda x: x * x, range(5)) == [0, 1, 4, 9, 16]
        assert in_threads(lambda x: x, []) == []


def test_two_items_are_worked_on_at_once(threads):
    threads(2)
    both = threading.Barrier(2)
    assert sorted(in_threads(lambda _: both.wait(timeout=5), range(2))) == [0, 1]


def test_one_item_or_one_thread_stays_here(threads):
    here = threading.current_thread().name
    threads(2)
    assert in_threads(name, [1]) == [here]
    assert here not in in_threads(name, [1, 2])
    threads(1)
    assert in_threads(name, [1, 2]) == [here] * 2
