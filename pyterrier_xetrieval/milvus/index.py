"""A collection in Milvus as a factory of stages."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..index.blocks import fingerprint
from ..index.folded_views import FoldedViews
from ..model import Xetrieval
from .collection import BATCH, DOCNO, FOLDED, UNFINISHED, VECTOR, VERSION, absolute, connect, facts_of, one_of
from .stages import MilvusExplainer, MilvusRetriever, MilvusVectorLoader

if TYPE_CHECKING:
    from pymilvus import MilvusClient


class MilvusIndex(FoldedViews):
    """An index in Milvus: its stages need the model and the database, and no file of the index that was uploaded.

    Args:
        model: the :class:`~pyterrier_xetrieval.Xetrieval` that the corpus was indexed with.
        uri: a server (``"http://localhost:19530"``), a local file of Milvus Lite (``"corpus.db"``), or a
            ``pymilvus.MilvusClient``; with a client the stages cannot be pickled.
        collection: its name.

    Attributes:
        aspects: the views beside the original one that are in use; all of the collection unless :meth:`with_views` says
            otherwise.
        settings: what the upload wrote about the collection.

    Raises:
        FileNotFoundError: no complete collection of this name, or no local file at ``uri``.
        ValueError: a collection of something else, or of another model.

    Example::

        model = Xetrieval.default()
        served = MilvusIndex(model, "http://localhost:19530", "corpus")
        explain = model.encoder() >> served.retriever(num_results=10) >> served.explainer()
    """

    def __init__(self, model: Xetrieval, uri: str | os.PathLike[str] | MilvusClient, collection: str):
        self.uri, self.collection, self.client = absolute(uri), collection, connect(uri)
        self._model, self.aspects = model, model.aspects
        if not self.client.has_collection(collection):
            cut_off = self.client.has_collection(f"{collection}{UNFINISHED}")
            state = "an upload that was cut off; start it again" if cut_off else "nothing"
            raise FileNotFoundError(f"no collection {collection!r} in {self!r} (found {state})")
        facts = facts_of(self.client, collection)
        if facts is None:
            raise ValueError(f"collection {collection!r} is not one that pyterrier_xetrieval.milvus.upload has made")
        if facts["version"] != VERSION:
            found = facts["version"]
            raise ValueError(f"collection {collection!r} has format {found}, this version of the package reads format {VERSION}")
        self.settings: dict[str, Any] = facts
        self.aspects = tuple(facts["aspects"])
        if missing := set(self.aspects) - set(model.aspects):
            raise ValueError(f"collection {collection!r} expects a model with the aspects {sorted(missing)}, found {model!r}")
        self._model = model.with_views(self.aspects, facts["weights"])
        if (sha256 := fingerprint(self._model)) != facts["model_sha256"]:
            raise ValueError(
                f"collection {collection!r} expects the model with sha256 {facts['model_sha256']}, found {model!r} with {sha256}"
            )
        self.client.load_collection(collection)

    def __len__(self) -> int:
        return self.settings["documents"]

    def retriever(self, *, num_results: int = 1000) -> MilvusRetriever:
        """Multi-view first stage: :class:`MilvusRetriever`."""
        return MilvusRetriever(self, num_results=num_results)

    def vec_loader(self) -> MilvusVectorLoader:
        """Adds the original ``doc_vec`` by docno: :class:`MilvusVectorLoader`."""
        return MilvusVectorLoader(self)

    def explainer(self, *, threshold: float = 0.0, min_confidence: float | None = None, top: int = 10) -> MilvusExplainer:
        """Explains results from the stored codes: :class:`MilvusExplainer`."""
        return MilvusExplainer(self, threshold=threshold, min_confidence=min_confidence, top=top)

    def fetch(self, docnos: Sequence[str], *fields: str, stage: object) -> list[Any]:
        """What is stored of documents: for each of these fields its values, vectors as float32 ``[u, m]``.

        Args:
            docnos: ``u`` distinct ones.
            fields: names of what to fetch.
            stage: who asks; named in errors.

        Raises:
            ValueError: a docno that the collection does not hold.
        """
        vectors = {FOLDED, VECTOR}.intersection(fields)
        found: dict[str, dict[str, Any]] = {}  # Milvus answers in an order of its own
        for start in range(0, len(docnos), BATCH):
            these = one_of(docnos[start : start + BATCH])
            for entity in self.client.query(self.collection, these, output_fields=[DOCNO, *fields]):
                for field in vectors:  # a list of Python's numbers is ten times as large
                    entity[field] = np.array(entity[field], np.float32)
                found[entity[DOCNO]] = entity
        if unknown := [docno for docno in docnos if docno not in found]:
            raise ValueError(f"{stage!r} does not find {len(unknown)} of the documents asked for, the first is {unknown[0]!r}")
        columns = {field: [found[docno][field] for docno in docnos] for field in fields}
        return [np.array(column, np.float32) if field in vectors else column for field, column in columns.items()]

    def _identity(self) -> tuple[Any, ...]:
        return self._model, self.uri, self.collection, self.aspects

    def __reduce__(self) -> tuple[Any, ...]:  # connects again
        return _open, self._identity()

    def __repr__(self) -> str:
        # an address may hold a password, and a client's own repr holds a place in memory
        uri = repr(re.sub("//[^/@]*@", "//…@", self.uri)) if isinstance(self.uri, str) else type(self.uri).__name__
        name = f"MilvusIndex({self._model!r}, {uri}, {self.collection!r})"
        return name if self.aspects or not self._model.aspects else f"{name}.with_views(())"


def _open(model: Xetrieval, uri: Any, collection: str, aspects: tuple[str, ...]) -> MilvusIndex:
    return MilvusIndex(model, uri, collection).with_views(aspects)
