"""Rows for judges: what an explanation prints, decoys in words of the pair, an untrained dictionary, shared words."""

import numpy as np
import pytest

from pyterrier_xetrieval import Xetrieval
from recipes.reading_baselines import OverlapForm, untrained_form
from recipes.reading_pairs import draw_pairs
from recipes.reading_rows import ModelForm
from tests.helpers.reading import embedded


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default().with_views(())


@pytest.fixture(scope="module")
def collections(model):
    return embedded(model.encoder())


@pytest.fixture(scope="module")
def pairs(collections):
    return draw_pairs(collections, 6)


@pytest.fixture(scope="module")
def explained(model, pairs):
    return ModelForm(model).explain(pairs)


def test_rows_are_those_of_the_explanation(model, pairs, explained):
    for pair, own in zip(pairs, explained):
        e = model.explain(pair.query, pair.document)
        assert len(own.rows) == len(e) > 10  # every shared feature, whatever its confidence
        assert [row.text for row in own.rows[:10]] == [str(row) for row in own.explanation.rows[:10]]
        assert sorted(row.feature for row in own.rows) == sorted(e.features.tolist())
        weight = own.explanation.contributions * own.explanation.confidence
        np.testing.assert_allclose([row.contribution * row.confidence for row in own.rows], np.sort(weight)[::-1])
        assert own.score == pytest.approx(e.score, abs=1e-5) and own.has(own.rows[0].feature) and not own.has(-1)
        first, at = own.rows[0], own.explanation.features.tolist().index(own.rows[0].feature)
        known, fit = model.labels.facts(first.feature), own.explanation.label_fit
        told = first.query_activation, first.document_activation, first.clarity, first.detection, first.contribution
        activations = own.explanation.query_activations[at], own.explanation.document_activations[at, 0]
        expected = (
            *(a / known.max_activation for a in activations),
            known.clarity,
            known.detection if fit is None or np.isnan(fit.detection[at]) else fit.detection[at],
            own.explanation.contributions[at],
        )
        by_text = first.query_support, first.document_support, first.query_similarity, first.document_similarity
        assert told == pytest.approx(expected) and set(by_text[:2]) <= {0, 1}
        model_of_rows = model.labels.confidence(*told, *by_text)
        assert first.confidence == pytest.approx(float(model_of_rows), abs=1e-6)
        assert own.explanation.evidence.document == pair.document


def test_a_decoy_has_words_of_the_pair_for_a_feature_of_another(pairs, explained):
    for (pair, own), other in zip(zip(pairs, explained), explained[1:] + explained[:1]):
        for row in [row for row in other.rows[:4] if not own.has(row.feature)]:
            decoy = own.decoy(row.feature)
            assert decoy.decoy and decoy.feature == row.feature and np.isnan(decoy.contribution)
            sides = decoy.text.split(" · ")[0].split(" ↔ ")
            for text, phrases in zip((pair.query, pair.document), sides):
                assert phrases != "…" and all(phrase in text for phrase in phrases.strip("“”").split("”, “"))


def test_a_feature_of_the_pair_as_decoy_gets_the_words_of_its_row(explained):
    """The rule for decoys is the rule for rows: applied to a feature that is active it gives the same words."""
    same = [own.decoy(row.feature).text == row.text for own in explained for row in own.rows[:5] if row.contribution > 0.01]
    assert len(same) > 20 and np.mean(same) == 1.0


def test_forms_show_parts_of_a_row(model, pairs, explained):
    words, labels = (ModelForm(model, show).explain(pairs[:1])[0] for show in ("words", "label"))
    for whole, of_words, of_label in zip(explained[0].rows, words.rows, labels.rows):
        assert whole.text == f"{of_words.text} · {of_label.text}"
    assert "·" not in labels.decoy(explained[1].rows[0].feature).text


def test_an_untrained_dictionary_has_words_and_no_labels(model, pairs):
    form = untrained_form(model, seed=1)
    own = form.explain(pairs[:2])[0]
    assert form.model.aspects == model.aspects and form.model.sae.k == model.sae.k
    assert own.rows and all("↔" in row.text and "feature" not in row.text for row in own.rows)
    assert [row.feature for row in own.rows] != [row.feature for row in ModelForm(model).explain(pairs[:1])[0].rows]
    assert untrained_form(model, seed=1).explain(pairs[:1])[0].rows[0].feature == own.rows[0].feature


def test_shared_words_rarest_first(collections, pairs):
    form = OverlapForm(collections)
    assert form.idf("animals", "eat") == pytest.approx(np.log(6 / 2)) and form.idf("kitchen", "water") == pytest.approx(
        np.log(6 / 3)
    )
    rabbits = next(pair for pair in draw_pairs(collections[:1], 5) if "rabbits" in pair.query)
    own = form.explain([rabbits])[0]
    assert [row.text for row in own.rows] == ["“eat” ↔ “eat”", "“rabbits” ↔ “Rabbits”"] and own.has("eat") and not own.has("what")
    assert own.decoy("wine").text == "“wine” ↔ “wine”" and own.score == pytest.approx(2 * np.log(3))
