"""Trains, labels, indexes and draws a page, all small, and says the sha256 of every file; the same whenever it is started.

``python -m tests.helpers.same_bytes FOLDER`` prints them as JSON.
"""

import hashlib
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pyterrier_xetrieval import FeatureLabels, Xetrieval
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.labelling import feature_samples
from pyterrier_xetrieval.labelling.keywords import keyword_labels
from pyterrier_xetrieval.training import train_internalizers, train_sae
from pyterrier_xetrieval.viz import show
from tests.helpers.builders import WORDS, unit


def made_in(folder: Path) -> dict[str, str]:
    """File to sha256, of all that is written below a folder, which has to be empty."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, texts = unit(rng, 240, 16), [" ".join(rng.choice(WORDS, 6)) for _ in range(240)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the odd dead feature of so short a training
        options = dict(hidden=8, epochs=3, batch_size=64, ensemble=1, seed=3)
        modules, history = train_internalizers(x, {"gist": unit(rng, 240, 16), "topic": x[::-1].copy()}, **options)
        sae, _ = train_sae(x, dict_size=32, k=4, steps=40, batch_size=64, internalizers=modules, seed=3)
    codes = encode_view(sae, x, refit=False, batch_size=512)
    labels = keyword_labels(texts, codes.ids, codes.activations, dict_size=32)
    model = Xetrieval.from_parts(
        internalizers=modules, sae=sae, labels=labels, encoder={"name": "", "dim": 16}, facts={"history": history}
    )
    model.save(folder / "model")
    samples = feature_samples(model, x, docnos=[f"d{i}" for i in range(240)], seed=5)
    (folder / "samples.json").write_text(json.dumps({k: np.asarray(v).tolist() for k, v in vars(samples).items()}, default=str))
    documents = [{"docno": f"d{i}", "doc_vec": v, "text": text} for i, (v, text) in enumerate(zip(x[:60], texts))]
    index = model.indexer(folder / "index", texts=True, shard_size=25).index(documents)
    queries = pd.DataFrame({"qid": ["1", "2"], "query": texts[:2], "query_vec": list(x[60:62])})
    page = (index.retriever(num_results=5) >> index.vec_loader() >> index.text_loader() >> index.explainer())(queries)
    (folder / "page.html").write_text(show(page)._repr_html_())
    (folder / "page.json").write_text(page.drop(columns=["query_vec", "doc_vec"]).to_json(orient="records"))
    FeatureLabels.read(folder / "model" / "labels.tsv", 32).write(folder / "labels.tsv")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(made_in(Path(sys.argv[1]))))
