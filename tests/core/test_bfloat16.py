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
