"""Small trainings, and whether two of them are the same."""

import warnings

import torch

from pyterrier_xetrieval.training import train_sae
from pyterrier_xetrieval.training.dictionary import OBJECTIVES

FAMILY = {"k": {"k": 3}, "sparsity": {"sparsity": 0.3}}


def small(vectors, *, variant="topk", **options):
    defaults = dict(dict_size=32, steps=300, batch_size=128, lr=5e-3, dead_after=2000, eval_every=50, seed=3, revive_every=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the odd dead feature of so short a training
        return train_sae(vectors, variant=variant, **defaults | FAMILY[OBJECTIVES[variant].needs] | options)


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)
