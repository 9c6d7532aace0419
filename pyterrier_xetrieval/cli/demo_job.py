"""The main job on the bundled model and collection: index, retrieve, explain, intervene, evaluate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import torch
from ir_measures import nDCG
from pyterrier_dr import BiEncoder, FlexIndex  # the command imports this module when the work begins

from ..datasets import PyDocs
from ..index import XetrievalIndex
from ..model import Xetrieval
from ..store.files import new_folder

_HEADS = {
    "name": "system", "+": "queries better", "-": "queries worse", "p-value": "p", "reject": "significant",
    "p-value corrected": "p, corrected",
}  # fmt: skip
DEPTH = 100  # results of a query that are re-ranked and measured


@dataclass
class Demo:
    """A collection, a model, and the index that explains one with the other, built on first use and kept on disk.

    Args:
        dataset: the collection.
        model: the model.
        cache: folder for the vectors; a changed collection, encoder or model gets a new place in it.
    """

    dataset: PyDocs
    model: Xetrieval
    cache: Path

    @cached_property
    def encoder(self) -> BiEncoder:
        return self.model.encoder()

    @cached_property
    def folder(self) -> Path:
        facts = [self.dataset.fingerprint, *(self.model.meta[key] for key in ("encoder", "sae", "weights", "sha256"))]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return self.cache / f"pydocs-{digest[:16]}"

    @cached_property
    def index(self) -> XetrievalIndex:
        """The collection: its vectors with all views, their codes, the texts and the words that carry the features."""
        path = self.folder / "index.xetrieval"

        def make() -> None:
            documents = pt.tqdm(self.dataset.get_corpus_iter(verbose=False), total=len(self.dataset), desc="encode", unit="doc")
            (self.encoder >> self.model.indexer(path, encoder=self.encoder, evidence=True)).index(documents)

        _unless_there(path, make)
        return XetrievalIndex(path)

    @cached_property
    def reconstructed(self) -> FlexIndex:
        """What the dictionary's features alone make of each vector."""
        path, vectors = self.folder / "reconstructed.flex", self.index.vectors

        def make() -> None:
            with new_folder(path) as unfinished:
                flex = FlexIndex(str(unfinished), verbose=False).indexer(mode="overwrite")
                (self.model.reconstructor() >> flex).index(vectors.get_corpus_iter(verbose=False))

        _unless_there(path, make)
        return FlexIndex(str(path), verbose=False)

    def evaluate(self) -> pd.DataFrame:
        """nDCG@10 of five systems, each against dense retrieval (paired t-test, Holm's correction)."""
        model = self.model
        dense = self.index.with_views(()).retriever(num_results=DEPTH)
        views = dense >> self.index.vec_loader() >> model.internalizer()
        systems = {
            "dense": dense,
            "multi-view re-ranked": views >> model.scorer(),
            "multi-view folded": self.index.retriever(num_results=DEPTH),
            "multi-view re-ranked, weights 1": views >> model.with_views(weights=1).scorer(),
            "dense, documents from features only": self.reconstructed.np_retriever(num_results=DEPTH),
        }
        topics, qrels = self.encoder(self.dataset.get_topics()), self.dataset.get_qrels()
        return pt.Experiment(systems, topics, qrels, [nDCG @ 10], baseline=0, correction="holm")

    def explain(self, query: str, *, top: int) -> pd.DataFrame:
        """The first ``top`` results of multi-view retrieval, each with its text, its explanation and the words behind it."""
        retrieve = self.encoder >> self.index.retriever(num_results=top) >> self.index.vec_loader() >> self.index.text_loader()
        model = self.model
        explain = model.internalizer() >> model.scorer() >> model.explainer() >> model.evidence(self.encoder)
        return (retrieve >> explain).search(query)

    def erase(self, explained: pd.DataFrame) -> pd.DataFrame:
        """What happens to each result when features are taken out of all views of that document alone.

        Returns:
            Columns ``docno``, ``score``, ``rank`` as retrieved; ``erased_score``, ``erased_rank`` without the shared
            features; ``control_score``, ``control_rank`` without as many of the document's strongest other features.
            A rank is the place the edited document would take among all documents of the collection, the others
            unchanged; ranks start at 0.
        """
        query = explained[["qid", "query", "query_vec"]].iloc[:1]
        everyone = self.index.retriever(num_results=len(self.index)).transform(query)
        out = explained[["docno", "score", "rank"]]
        model = self.model
        for name, intervention in (
            ("erased", model.intervention("erase", features="shared")),
            ("control", model.intervention("erase", features=self._others)),
        ):
            edited = (intervention >> model.scorer()).transform(explained)
            ranks = [
                int(((everyone["score"] > score) & (everyone["docno"] != docno)).sum())
                for docno, score in zip(edited["docno"], edited["score"])
            ]
            out = out.assign(**{f"{name}_score": edited["score"], f"{name}_rank": ranks})
        return out

    def _others(self, row: dict[str, Any]) -> list[int]:
        """As many features as are shared, the strongest of the document's own vector that the query does not have."""
        codes, shared = self.model.sae.encode(torch.tensor(row["doc_vec"])[None]), set(row["explanation"].features.tolist())
        ids = codes.ids[0][codes.values[0].argsort(descending=True)][: int(codes.active().sum())].tolist()
        return [j for j in ids if j not in shared][: len(shared)]


def _unless_there(path: Path, make: Callable[[], object]) -> None:
    """Makes an artifact, unless it is there, or another demo is faster, with the same vectors."""
    if (path / "pt_meta.json").exists():
        return
    try:
        make()
    except FileExistsError:
        if not (path / "pt_meta.json").exists():
            raise


def table(experiment: pd.DataFrame) -> dict[str, list]:
    """A ``pt.Experiment`` table as the page of the explorer shows it: ``head`` and ``rows`` of texts."""
    head = [_HEADS.get(name.removeprefix(str(nDCG @ 10)).strip(), name) for name in experiment.columns]
    return {
        "head": head,
        "rows": [[_cell(str(name), value) for name, value in row.items()] for row in experiment.to_dict("records")],
    }


def _cell(name: str, value: Any) -> str:
    """A number of the table as a person writes it."""
    if value is None or value != value:
        return "–"
    if name.endswith("reject"):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return str(int(value)) if name.endswith((" +", " -")) else f"{value:.3f}"
