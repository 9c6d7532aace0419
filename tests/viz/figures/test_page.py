"""The heat map of a page: its cells, its order, and pages that it refuses."""

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import viz
from tests.helpers.builders import make_model, result_frame
from tests.helpers.figures import check_files


def test_cells_are_contributions(page):
    ax = viz.plot_page(page.sample(frac=1, random_state=3))  # the ranks say the order, not the rows
    own = page["explanation"].tolist()
    names = [label.get_text() for label in ax.get_yticklabels()]
    cells = ax.collections[0].get_array().reshape(len(names), len(own))
    assert [label.get_text().split()[0] for label in ax.get_xticklabels()] == page["docno"].tolist()
    shown = {row.feature for e in own for row in e.rows}
    features = [int(name.rpartition("[")[2].rstrip("]")) for name in names]
    assert set(features) <= shown and len(features) == min(len(shown), 15)
    numbers = iter(ax.texts)
    for feature, row in zip(features, cells, strict=True):
        for e, cell in zip(own, row, strict=True):
            expected = dict(zip(e.features.tolist(), e.contributions.tolist())).get(feature)
            if expected is None:
                assert cell is np.ma.masked
            else:
                assert cell == pytest.approx(expected, abs=1e-6)
                assert float(next(numbers).get_text().replace("−", "-")) == pytest.approx(expected, abs=0.0051)
    strength = np.abs(cells.filled(0)).sum(axis=1)
    assert (np.diff(strength) <= 1e-9).all() and next(numbers, None) is None
    check_files(ax)


def test_many_results_have_no_numbers():
    results = make_model().explainer()(result_frame(n_queries=1, n_docs=40))
    ax = viz.plot_page(results)
    assert not ax.texts and len(ax.get_xticks()) == 40
    check_files(ax)


def test_pages_that_are_none(page):
    explained = make_model().explainer()(result_frame())
    with pytest.raises(ValueError, match=r"one query, found 3 \['q0', 'q1', 'q2'\].*results.qid == qid"):
        viz.plot_page(explained)
    with pytest.raises(ValueError, match="one query, found 0"):
        viz.plot_page(explained[:0])
    with pytest.raises(ValueError, match=r"no \['explanation'\]; add model.explainer"):
        viz.plot_page(result_frame())
    with pytest.raises(ValueError, match="in every row, found none"):
        viz.plot_page(pd.concat([page, page[:1].assign(explanation=None)]))
