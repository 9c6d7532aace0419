"""Slow bfloat16 is told of, once a model computes in it on a processor."""

import warnings

import pytest
import torch

from pyterrier_xetrieval.core import bfloat16


def test_a_slow_processor_is_told_of(monkeypatch):
    monkeypatch.setattr(bfloat16, "bfloat16_slowdown", lambda: 12.3)
    with pytest.warns(UserWarning, match="MiniLM computes in bfloat16.*12 times as long as with float32; use float32"):
        bfloat16.warn_if_slow(torch.bfloat16, "cpu", stage="MiniLM", remedy="use float32")


@pytest.mark.parametrize(
    ("dtype", "device", "times"), [(torch.float32, "cpu", 12.3), (torch.bfloat16, "cuda", 12.3), (torch.bfloat16, "cpu", 0.5)]
)
def test_nothing_is_said_without_need(monkeypatch, dtype, device, times):
    monkeypatch.setattr(bfloat16, "bfloat16_slowdown", lambda: times)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bfloat16.warn_if_slow(dtype, device, stage="MiniLM", remedy="use float32")


def test_the_processor_is_measured():
    bfloat16.bfloat16_slowdown.cache_clear()
    assert 0.01 < bfloat16.bfloat16_slowdown() < 1000


def times_of(monkeypatch, float32, bfloat16_):
    """What is measured if a run of each dtype takes these seconds in turn; the number of runs too."""
    runs = {torch.float32: iter(float32), torch.bfloat16: iter(bfloat16_)}
    counts = dict.fromkeys(runs, 0)

    def seconds(dtype):
        counts[dtype] += 1
        return next(runs[dtype])

    monkeypatch.setattr(bfloat16, "_seconds", seconds)
    return bfloat16.bfloat16_slowdown.__wrapped__(), counts


def test_the_shortest_runs_count_and_six_are_enough_where_it_is_not_slow(monkeypatch):
    found, counts = times_of(monkeypatch, [9, 9, 9, 9, 9, 4], [7, 8, 9, 9, 9, 9])
    assert found == 7 / 4 and set(counts.values()) == {6}
    found, counts = times_of(monkeypatch, [1] * 50, [2] * 50)
    assert found == 2 and set(counts.values()) == {6}  # twice as long is not slow yet
    found, counts = times_of(monkeypatch, [1] * 50, [3] * 20 + [2] * 30)
    assert found == 2 and set(counts.values()) == {21}


def test_a_slow_one_is_given_fifty_chances(monkeypatch):
    found, counts = times_of(monkeypatch, [1] * 50, [4] * 49 + [3])
    assert found == 3 and set(counts.values()) == {50}


def test_it_is_measured_once(monkeypatch):
    asked = []
    monkeypatch.setattr(bfloat16, "_seconds", lambda dtype: asked.append(dtype) or 1.0)
    bfloat16.bfloat16_slowdown.cache_clear()
    assert bfloat16.bfloat16_slowdown() == bfloat16.bfloat16_slowdown() == 1.0
    bfloat16.bfloat16_slowdown.cache_clear()
    assert asked == [torch.float32, torch.bfloat16] * 6


def test_a_run_takes_as_long_as_the_clock_says(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(bfloat16.time, "perf_counter", lambda: next(clock))
    assert bfloat16._seconds(torch.float32) == 2.5


def test_slow_is_more_than_twice_as_long(monkeypatch):
    monkeypatch.setattr(bfloat16, "bfloat16_slowdown", lambda: 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bfloat16.warn_if_slow(torch.bfloat16, torch.device("cpu"), stage="S", remedy="R")
    monkeypatch.setattr(bfloat16, "bfloat16_slowdown", lambda: 2.01)
    with pytest.warns(UserWarning, match="^S computes in bfloat16, with which this processor takes 2 times .*; R$"):
        bfloat16.warn_if_slow(torch.bfloat16, torch.device("cpu"), stage="S", remedy="R")


def test_the_warning_points_at_who_made_the_encoder(monkeypatch):
    monkeypatch.setattr(bfloat16, "bfloat16_slowdown", lambda: 9.0)

    def encoder():
        bfloat16.warn_if_slow(torch.bfloat16, "cpu", stage="S", remedy="R")

    with pytest.warns(UserWarning) as found:
        encoder()
    here = test_the_warning_points_at_who_made_the_encoder.__code__
    lines = {line for _, _, line in here.co_lines()}
    assert found[0].filename == __file__ and found[0].lineno in lines
