"""Explanations by the bundled model, tables by evaluations of a hand-made one, and figures that are closed again."""

import matplotlib
import pandas as pd
import pytest

from pyterrier_xetrieval import Xetrieval, evaluation, pydocs
from tests.helpers.builders import make_model, random_sae, toy

NAMES = ["sorted", "list.sort", "str.split", "os.remove", "time.sleep", "json.dumps"]


@pytest.fixture(autouse=True)
def closed():
    """No window is opened, and no figure stays open."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")


@pytest.fixture(scope="package")
def page() -> pd.DataFrame:
    """Six documents under one query, the best first, explained by the bundled model with words."""
    model = Xetrieval.default()
    texts = {doc["docno"]: doc["text"] for doc in pydocs().get_corpus_iter()}
    encoder = model.encoder()
    query = encoder(pd.DataFrame({"qid": ["1"], "query": ["how do I sort a list of words by their length, for $5 or $6?"]}))
    docs = encoder(pd.DataFrame({"docno": NAMES, "text": [texts[name] for name in NAMES]}))
    pipeline = model.scorer() >> model.explainer() >> model.evidence()
    return pipeline(docs.merge(query, how="cross")).sort_values("rank")


@pytest.fixture(scope="package")
def tables() -> dict[str, pd.DataFrame]:
    """The table of each evaluation, small, of a model that was never trained."""
    model, collection = make_model(random_sae(16, 256, 12)), toy("a_small_one")
    saes = {f"topk {k}": random_sae(16, 64, k) for k in (2, 8, 4)} | {"random": random_sae(16, 64, 6, seed=1)}
    return {
        "steering": evaluation.steering(model, collection, num_features=32, draws=2),
        "erasure": evaluation.erasure(model, collection),
        "faithfulness": evaluation.faithfulness_curves(model, collection, steps=4, draws=2),
        "counterfactual": evaluation.counterfactual(model, collection, draws=2),
        "score_shares": evaluation.score_shares(model, collection),
        "stability": evaluation.stability(model, collection, other_rank=2),
        "latency": evaluation.latency(model, collection, sizes=[100, 200]),
        "reconstruction": evaluation.reconstruction(model, collection, saes=saes),
        "sparsity": evaluation.reconstruction(model, collection, saes=saes),
        "label_scores": evaluation.label_scores(model, collection, min_active=2),
    }
