import numpy as np
import pytest

from pyterrier_xetrieval.evaluation.significance import holm, paired_t


def test_holm_multiplies_the_smallest_by_how_many_there_are():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06]) and holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm(np.array([0.04, 0.01, 0.5])).tolist() == pytest.approx([0.08, 0.03, 0.5]) and holm([]).shape == (0,)


def test_where_no_query_differs_p_is_one():
    values = np.array([0.5, 0.25, 1.0])
    assert paired_t(values, values.copy()) == 1.0 and paired_t(values, values - [0.1, 0.2, 0.1]) < 0.1
