"""The bundled model on real text, through the real encoder."""

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


def test_its_card_is_what_the_recipe_writes(model):
    written = (model.path / "README.md").read_text(encoding="utf-8")
    parts = written.split("\n## Training data\n")[1].split("\nLeft out of")[0].split("\n### ")[1:]
    sources = {name: f"# title\n{text}" for name, text in (part.split("\n", 1) for part in parts)}
    assert model_card(model, sources) == written and "## View weights" in written and len(sources) == 6
    tried = model.meta["training"]["view_weights_tried"]
    assert tuple(tried["weights"]) == GRID and max(tried["points"], key=tried["points"].get) == "0.2"


def test_what_is_known_of_its_labels(model):
    table = model.labels.table
    assert table["detection"].mean() > 0.7 and table["clarity"].isin([0, 1, 2]).all() and model.labels.confidence is not None
    assert 0 < model.min_confidence < 1 and model.meta["training"]["sae"]["dead_share"] == 0


def test_it_finds_the_features_of_sorting_a_list(model, views):
    results = (model.scorer() >> model.explainer())(views).sort_values("rank")
    assert set(results["docno"].head(2)) == {"sorted", "list.sort"}
    best = results["explanation"].iloc[0]
    names = ", ".join(model.labels[feature] for feature in best.features[:5])
    assert "sorting" in names and "lists" in names
    assert best.shared + best.other + best.bias + best.residual == pytest.approx(best.score, abs=1e-4)
    assert abs(best.residual) < 0.15 * best.score and len(best) > 10 and len(best.rows) >= 3


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
