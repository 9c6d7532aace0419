"""Where there is nothing to find, nothing is found: shuffled labels tell texts no better than lots, shuffled rows no pair."""

import numpy as np
import pytest

from benchmarks.nothing import detection, embedded, identification, shuffled_pairs
from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation.dictionaries import untrained
from recipes.reading_choices import choices_of
from recipes.reading_pairs import draw_pairs
from recipes.reading_rows import ModelForm
from tests.helpers.planted import planted

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small():
    model = Xetrieval.default().with_views(())
    return model, embedded(model, 120, 24)


def test_shuffled_labels_detect_like_lots(small):
    model, collection = small
    saes = {"bundled": model.sae, **{f"untrained {seed}": untrained(model.sae, seed=seed) for seed in (0, 1, 2)}}
    names = [model.labels.name(j) for j in range(model.sae.dict_size)]
    table = detection(collection, saes, {"bundled": names}).set_index("what")
    for what in [w for w in table.index if w.endswith("shuffled")]:
        assert abs(table.value[what] - 0.5) < 0.02, what
    assert table.low["bundled: keywords"] > 0.52 and table.low["bundled: labels that ship"] > 0.52
    # keywords tell the texts of untrained features apart as well, so that detection alone says nothing for a dictionary
    assert all(table.low[f"untrained {seed}: keywords"] > 0.5 for seed in (0, 1, 2))


def test_planted_labels_are_found_and_lose_all_by_shuffling():
    model, collection = planted(240)
    table = detection(collection, {"planted": model.sae}, seeds=range(40)).set_index("what")
    assert table.value["planted: keywords"] == 1
    # a label that comes back to its place detects 1, any other one (1 + 0 - 1/5) / 2, which is .5 on average
    assert abs(table.value["planted: keywords, shuffled"] - 0.5) < 0.06


def test_shuffled_rows_point_at_no_pair(small):
    model, collection = small
    pairs = draw_pairs([collection], 16)
    choices = choices_of("own", pairs, ModelForm(model).explain(pairs))
    own = identification(choices).iloc[0]
    # each question with the rows of every other pair in turn: many lots, so that chance shows
    lots = [c for seed in range(12) for c in shuffled_pairs(choices, seed=seed)]
    found = np.mean([identification([c], seed=i).iloc[0].value for i, c in enumerate(lots)])
    assert own.value > 0.9 and own.low > 0.5
    assert abs(found - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(lots))
