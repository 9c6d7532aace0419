"""The dictionary that has seen no data."""

import numpy as np
import torch

from pyterrier_xetrieval.evaluation.dictionaries import untrained, untrained_model, with_sae
from pyterrier_xetrieval.evaluation.explained_pairs import explain_pairs
from pyterrier_xetrieval.evaluation.pairs import Pairs
from tests.helpers.builders import long_mean_model, make_model, random_sae
from tests.helpers.erasure import random_collection


def test_its_directions_come_from_the_seed_alone():
    first, again = (untrained(random_sae(seed=seed), seed=4) for seed in (0, 1))
    assert torch.equal(first.w_dec, again.w_dec) and not torch.equal(first.w_dec, untrained(random_sae(), seed=5).w_dec)
    assert not first.b_dec.any() and (first.dim, first.dict_size, first.k) == (16, 48, 5)


def test_where_vectors_share_a_long_mean_it_has_the_models_bias_and_pairs_do_not_all_share_the_same_features():
    model, x = long_mean_model()
    null = untrained_model(model, x, seed=0).sae
    assert torch.equal(null.b_dec, model.sae.b_dec)
    collection = random_collection(n=len(x), queries=12, dim=x.shape[1])
    object.__setattr__(collection, "docs", x)
    object.__setattr__(collection, "queries", x[:12] + 0.0)
    pairs = Pairs(np.arange(12), np.arange(12, 24), np.ones(12, bool))
    without = untrained(model.sae, seed=0)
    counts = [
        np.mean([len(own) for own in explain_pairs(with_sae(model, sae).with_views(()), collection, pairs).sets])
        for sae in (null, without)
    ]
    assert counts[0] < 0.7 * counts[1]  # without it, the features nearest to the mean are active in all of them


def test_a_short_bias_is_not_taken_over():
    model = make_model()
    with torch.no_grad():
        model.sae.b_dec.fill_(0.01)
    assert not untrained_model(model, torch.zeros(2, 16).numpy(), seed=0).sae.b_dec.any()
