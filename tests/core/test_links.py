"""Links against a loop over queries and links, in float64."""

import numpy as np
import pytest

from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.core.links import ALWAYS, ALWAYS_ACTIVATION, Links
from tests.helpers.builders import random_sae

SAE = random_sae()
QUERIES = np.random.default_rng(3).normal(size=(9, 16)).astype(np.float32)
CODES = encode_view(SAE, QUERIES, refit=False, batch_size=4)
SHOWN = [{int(j): float(a) for j, a in zip(ids, activations) if a > 0} for ids, activations in zip(CODES.ids, CODES.activations)]
OFTEN = max(range(48), key=lambda j: sum(j in own for own in SHOWN))
NEVER = next(j for j in range(48) if not any(j in own for own in SHOWN))


def links(*rows):
    source, target, weight = zip(*rows)
    return Links(np.array(source), np.array(target), np.float32(weight))


MANY = links((OFTEN, 7, 2.0), (ALWAYS, 7, -0.5), (NEVER, 3, 1.0), (OFTEN, 9, -1.5), (0, 7, 0.25))


def test_amounts_are_weights_times_what_each_query_shows():
    assert len(MANY) == 5
    found = MANY.amounts(CODES, SAE.dict_size)
    expected = [
        [w * (ALWAYS_ACTIVATION if s == ALWAYS else own.get(s, 0.0)) for s, w in zip(MANY.source.tolist(), MANY.weight.tolist())]
        for own in SHOWN
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32 and not found[:, 2].any() and found[:, 0].any() and (found[:, 1] == found[0, 1]).all()


def test_queries_move_along_the_targets():
    w = SAE.w_dec.detach().numpy()
    amounts = MANY.amounts(CODES, SAE.dict_size)
    found = MANY.applied(QUERIES, amounts, w)
    for q, own, moved in zip(QUERIES.astype(np.float64), amounts.astype(np.float64), found):
        np.testing.assert_allclose(moved, q + sum(a * w[t] for a, t in zip(own, MANY.target.tolist())), atol=1e-5)
    still = links((NEVER, 3, 1.0))
    assert np.array_equal(still.applied(QUERIES, still.amounts(CODES, SAE.dict_size), w), QUERIES)


def test_what_is_added_is_summed_by_target():
    amounts = MANY.amounts(CODES, SAE.dict_size)
    for own, found in zip(amounts.astype(np.float64), MANY.added(amounts)):
        expected: dict[int, float] = {}
        for amount, target in zip(own, MANY.target.tolist()):
            expected[target] = expected.get(target, 0.0) + amount
        assert found == {t: pytest.approx(a, rel=1e-5) for t, a in expected.items() if a}
        assert 3 not in found


def test_links_are_not_changed_afterwards():
    with pytest.raises(AttributeError):
        MANY.weight = np.zeros(5)
    assert ALWAYS not in range(48) and ALWAYS_ACTIVATION == 0.3


def test_every_feature_may_be_a_source():
    """Also the first of them, which no link of every query stands before."""
    sources = sorted({j for own in SHOWN for j in own})
    found = links(*((j, j, 1.0) for j in sources)).amounts(CODES, SAE.dict_size)
    np.testing.assert_array_equal(found, [[np.float32(own.get(j, 0.0)) for j in sources] for own in SHOWN])
    assert (found > 0).any(axis=0).all() and (found[found > 0] < 1).any()
