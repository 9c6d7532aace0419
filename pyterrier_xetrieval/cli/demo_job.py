"""The main job on the bundled model and collection: index, retrieve, explain, intervene, evaluate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
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
from ..labelling import feature_samples
from ..model import Xetrieval
from ..stages.load import VectorLoader
from ..store.files import new_folder

DEPTH = 100  # results of a query that are re-ranked and measured


@dataclass
class Demo:
    """A collection, a model, and the indexes that explain one with the other, built on first use and kept on disk.

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

    def _documents(self) -> Iterable[dict[str, Any]]:
        return pt.tqdm(self.dataset.get_corpus_iter(), total=len(self.dataset), desc="encode", unit="doc")

    def _vectors(self) -> Iterable[dict[str, Any]]:
        return self.original.get_corpus_iter(verbose=False)

    def _index(self, name: str, stage: pt.Transformer, documents: Callable[[], Iterable[dict[str, Any]]]) -> FlexIndex:
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
        model = self.model
        dense = self.original.np_retriever(num_results=DEPTH)
        views = dense >> VectorLoader(self.original) >> model.internalizer()
        systems = {
            "dense": dense,
            "multi-view re-ranked": views >> model.scorer(),
            "multi-view folded": self.folded.np_retriever(num_results=DEPTH),
            "multi-view re-ranked, weights 1": views >> model.with_views(weights=1).scorer(),
            "dense, documents from features only": self.reconstructed.np_retriever(num_results=DEPTH),
        }
        topics, qrels = self.encoder(self.dataset.get_topics()), self.dataset.get_qrels()
        return pt.Experiment(systems, topics, qrels, [nDCG @ 10], baseline=0, correction="holm")

    def explain(self, query: str, *, top: int) -> pd.DataFrame:
        """The first ``top`` results of multi-view retrieval, each with its text, its explanation and the words behind it."""
        model = self.model
        retrieve = self.encoder >> self.folded.np_retriever(num_results=DEPTH) % top
        explain = VectorLoader(self.original) >> model.internalizer() >> model.scorer() >> model.explainer()
        return (retrieve >> explain >> self.dataset.text_loader() >> model.evidence(self.encoder)).search(query)

    def erase(self, explained: pd.DataFrame) -> pd.DataFrame:
        """What happens to each result when features are taken out of all views of that document alone.

        Returns:
            Columns ``docno``, ``score``, ``rank`` as retrieved; ``erased_score``, ``erased_rank`` without the shared
            features; ``control_score``, ``control_rank`` without as many of the document's strongest other features.
            A rank is the place the edited document would take among all documents of the collection, the others
            unchanged; ranks start at 0.
        """
        query = explained[["qid", "query", "query_vec"]].iloc[:1]
        everyone = self.folded.np_retriever(num_results=len(self.folded)).transform(query)
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
        codes, shared = self.model.sae.encode(torch.from_numpy(row["doc_vec"])[None]), set(row["explanation"].features.tolist())
        ids = codes.ids[0][codes.values[0].argsort(descending=True)][: int(codes.active().sum())].tolist()
        return [j for j in ids if j not in shared][: len(shared)]

    def examples(self, features: Iterable[int]) -> dict[int, str]:
        """In words, how many documents have each feature and which have it most."""
        docnos = list(self.original.docnos())
        raw = self.model.with_views(aspects=())
        found = feature_samples(raw, self.original.np_vecs(), docnos=docnos, top=3, random=1)
        said = {}
        for j in features:
            most = ", ".join(docnos[row] for row in found.docs[j].tolist() if row >= 0)
            said[j] = f"in {found.counts[j]} of {len(docnos)} documents" + (f", most in {most}" if most else "")
        return said
