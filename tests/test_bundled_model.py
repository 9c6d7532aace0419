"""The embedded model on real text, through the real encoder."""

import re

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch

from pyterrier_xetrieval import MultiViewScorer, Xetrieval, pydocs
from pyterrier_xetrieval.evaluation.view_weights import GRID
from pyterrier_xetrieval.training import fraction_of_variance_explained
from recipes.card import model_card

QUERY = "how do I sort a list of words by their length"
NAMES = ["sorted", "list.sort", "str.split", "os.remove", "time.sleep", "random.shuffle", "json.dumps", "threading.Lock"]


@pytest.fixture(scope="module")
def model():
    return Xetrieval.default()


@pytest.fixture(scope="module")
def views(model):
    """Eight documents under one query, encoded and internalised."""
    texts = {doc["docno"]: doc["text"] for doc in pydocs().get_corpus_iter()}
    docs = pd.DataFrame({"docno": [n for n in NAMES if n in texts], "text": [texts[n] for n in NAMES if n in texts]})
    encoder = model.encoder()
    query = encoder(pd.DataFrame({"qid": ["1"], "query": [QUERY]}))
    return model.internalizer()(encoder(docs).merge(query, how="cross"))


def test_it_is_an_artifact_of_its_size(model):
    assert isinstance(pt.Artifact.load(str(model.path)), Xetrieval) and repr(model) == "Xetrieval.default()"
    assert sum(file.stat().st_size for file in model.path.glob("*.safetensors")) <= 12_000_000
    assert model.aspects == ("summary", "purpose", "qa") and model.dim == model.encoder().dim == 384
    assert "Licence" in (model.path / "README.md").read_text() and model.labels.methods
    assert len(model.labels) > 0.9 * model.sae.dict_size


def card_of(model, facts):
    """The card that the recipe writes from these facts, without the points on variants, which are in no artifact."""
    written = (model.path / "README.md").read_text(encoding="utf-8")
    parts = written.split("\n## Training data\n")[1].split("\nLeft out of")[0].split("\n### ")[1:]
    sources = {name: f"# title\n{text}" for name, text in (part.split("\n", 1) for part in parts)}
    card = model_card(
        sae=model.sae, internalizers=model.internalizers, encoder=model.meta["encoder"], facts=facts, sources=sources,
        labels=model.labels,
    )  # fmt: skip
    return card, re.sub(r"## Choice of variant.*?(?=## Training\n)", "", written, flags=re.DOTALL)


def test_its_card_is_what_the_recipe_writes(model):
    made, written = card_of(model, model.meta["training"])
    assert made == written and "## View weights" in made
    tried = model.meta["training"]["view_weights_tried"]
    assert tuple(tried["weights"]) == GRID and max(tried["points"], key=tried["points"].get) == "0.2"
    without, _ = card_of(model, {name: fact for name, fact in model.meta["training"].items() if name != "view_weights_tried"})
    assert "View weights" not in without and len(without) < len(made)


def test_it_finds_the_features_of_sorting_a_list(model, views):
    results = (model.scorer() >> model.explainer())(views).sort_values("rank")
    assert set(results["docno"].head(2)) == {"sorted", "list.sort"}
    best = results["explanation"].iloc[0]
    names = ", ".join(model.labels[feature] for feature in best.features[:5])
    assert "order" in names and "lists" in names and "sorting" in names
    assert best.shared + best.other + best.bias + best.residual == pytest.approx(best.score, abs=1e-4)
    assert abs(best.residual) < 0.15 * best.score and len(best) > 10


def test_erasing_the_explanation_costs_the_first_place(model, views):
    explained = (model.scorer() >> model.explainer())(views)
    first = explained[explained["rank"] == 0]
    erased = (model.intervention(features="shared") >> model.scorer())(first)
    assert erased["score"].iloc[0] < explained["score"].median()


def test_folding_gives_the_multi_view_score(model, views):
    folded = (model.fold() >> MultiViewScorer())(views)
    np.testing.assert_allclose(folded["score"], model.scorer()(views)["score"], atol=1e-5)


def test_it_explains_most_of_the_variance_of_text_it_never_saw(model):
    texts = [doc["text"] for doc in pydocs().get_corpus_iter()][::60]
    fve, active = fraction_of_variance_explained(model.sae, torch.from_numpy(model.encoder().encode_docs(texts)))
    assert fve > 0.6 and active == pytest.approx(model.sae.k, abs=1)
