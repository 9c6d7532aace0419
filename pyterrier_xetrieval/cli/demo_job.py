"""The main job on the embedded model and collection: index, retrieve, explain, intervene, evaluate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyterrier as pt
import torch
from ir_measures import nDCG
from pyterrier_dr import FlexIndex

from ..datasets import PyDocs
from ..labelling import feature_samples
from ..model import Xetrieval
from ..stages.load import VectorLoader
from ..store.files import new_folder

DENSE, RERANKED, FOLDED = "dense", "multi-view re-ranked", "multi-view folded"
EQUAL = "multi-view re-ranked, weights 1"
RECONSTRUCTED = "dense, documents from features only"


@dataclass
class Demo:
    """A collection, a model, and the indexes that explain one with the other, built on first use and kept on disk.

    Args:
        dataset: a collection with ``get_corpus_iter``, ``get_topics``, ``get_qrels`` and ``fingerprint``.
        model: an :class:`~pyterrier_xetrieval.Xetrieval`.
        cache: folder for the vectors; a changed collection, encoder or model gets a new place in it.
    """

    dataset: PyDocs
    model: Xetrieval
    cache: Path

    @cached_property
    def encoder(self):
        return self.model.encoder()

    @cached_property
    def folder(self) -> Path:
        key = json.dumps(
            [self.dataset.fingerprint, *(self.model.meta[key] for key in ("encoder", "sae", "weights", "sha256"))], sort_keys=True
        )
        return Path(self.cache) / f"pydocs-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    @cached_property
    def original(self) -> FlexIndex:
        """Plain vectors of the collection."""
        return self._index("original.flex", self.encoder, self._documents)

    @cached_property
    def folded(self) -> FlexIndex:
        """All views folded into one vector per document."""
        return self._index("folded.flex", self.model.internalizer() >> self.model.fold(), self._vectors)

    @cached_property
    def reconstructed(self) -> FlexIndex:
        """What the dictionary's features alone make of each vector."""
        return self._index("reconstructed.flex", self.model.reconstructor(), self._vectors)

    def _documents(self):
        return pt.tqdm(list(self.dataset.get_corpus_iter(verbose=False)), desc="encode", unit="doc")

    def _vectors(self):
        return self.original.get_corpus_iter(verbose=False)

    def _index(self, name: str, stage: pt.Transformer, documents) -> FlexIndex:
        path = self.folder / name
        if not (path / "pt_meta.json").exists():
            try:
                with new_folder(path) as unfinished:
                    (stage >> FlexIndex(str(unfinished), verbose=False).indexer(mode="overwrite")).index(documents())
            except FileExistsError:
                if not (path / "pt_meta.json").exists():  # otherwise another demo was faster, with the same vectors
                    raise
        return FlexIndex(str(path), verbose=False)

    def evaluate(self) -> pd.DataFrame:
        """nDCG@10 of five systems, each against dense retrieval (paired t-test, Holm's correction)."""
        model, depth = self.model, 100
        dense = self.original.np_retriever(num_results=depth)
        views = VectorLoader(self.original) >> model.internalizer()
        systems = {
            DENSE: dense,
            RERANKED: dense >> views >> model.scorer(),
            FOLDED: self.folded.np_retriever(num_results=depth),
            EQUAL: dense >> views >> model.scorer(weights=1),
            RECONSTRUCTED: self.reconstructed.np_retriever(num_results=depth),
        }
        topics = self.encoder(self.dataset.get_topics())
        qrels = self.dataset.get_qrels()
        return pt.Experiment(
            list(systems.values()), topics, qrels, [nDCG @ 10], names=list(systems), baseline=0, correction="holm"
        )

    def explain(self, query: str, *, top: int) -> pd.DataFrame:
        """The first ``top`` results of multi-view retrieval, each with its explanation and the text of the document."""
        pipeline = (
            self.encoder
            >> self.folded.np_retriever(num_results=top)
            >> VectorLoader(self.original)
            >> self.model.internalizer()
            >> self.model.scorer()
            >> self.model.explainer()
        )
        return (pipeline >> self.dataset.text_loader()).search(query)

    def erase(self, explained: pd.DataFrame) -> pd.DataFrame:
        """What happens to each result when features are taken out of all views of that document alone.

        Returns:
            Columns ``docno``, ``score``, ``rank`` as retrieved; ``erased_score``, ``erased_rank`` without the shared
            features; ``control_score``, ``control_rank`` without as many of the document's strongest other features.
            A rank is the place the edited document would take among all documents of the collection, the others
            unchanged; ranks start at 0.
        """
        query = explained[["qid", "query", "query_vec"]].iloc[:1]
        everyone = self.folded.np_retriever(num_results=len(self.folded))(query)
        out = explained[["docno", "score", "rank"]]
        for name, features in (("erased", "shared"), ("control", self._others)):
            edited = (self.model.intervention("erase", features=features) >> self.model.scorer())(explained)
            ranks = [
                int(((everyone["score"] > score) & (everyone["docno"] != docno)).sum())
                for docno, score in zip(edited["docno"], edited["score"])
            ]
            out = out.assign(**{f"{name}_score": edited["score"], f"{name}_rank": ranks})
        return out

    def _others(self, row: dict) -> list[int]:
        """As many features as are shared, the strongest of the document's own vector that the query does not have."""
        codes, shared = self.model.sae.encode(torch.from_numpy(row["doc_vec"])[None]), set(row["explanation"].features.tolist())
        ids = codes.ids[0][codes.values[0].argsort(descending=True)][: int(codes.active().sum())].tolist()
        return [j for j in ids if j not in shared][: len(shared)]

    def examples(self, features: Iterable[int]) -> dict[int, str]:
        """In words, how many documents have each feature and which have it most."""
        vectors, docnos = self.original.np_vecs(), list(self.original.docnos())
        found = feature_samples(self.model, vectors, docnos=docnos, aspects=(), top=3, random=1)
        said = {}
        for j in features:
            most = ", ".join(docnos[row] for row in found.docs[j].tolist() if row >= 0)
            said[j] = f"in {found.counts[j]} of {len(docnos)} documents" + (f", most in {most}" if most else "")
        return said
