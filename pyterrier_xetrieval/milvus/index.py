"""A collection in Milvus as a factory of stages."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..index.blocks import fingerprint
from .collection import BATCH, DOCNO, FOLDED, UNFINISHED, VECTOR, VERSION, absolute, connect, facts_of, one_of
from .stages import MilvusExplainer, MilvusRetriever, MilvusVectorLoader


class MilvusIndex:
    """An index in Milvus: its stages need the model and the database, and no file of the index that was uploaded.

    Args:
        model: the :class:`~pyterrier_xetrieval.Xetrieval` that the corpus was indexed with.
        uri: a server (``"http://localhost:19530"``), a local file of Milvus Lite (``"corpus.db"``), or a
            ``pymilvus.MilvusClient``; with a client the stages cannot be pickled.
        collection: its name.

    Raises:
        ImportError: no pymilvus.
        FileNotFoundError: no complete collection of this name.
        ValueError: a collection of something else, or of another model.

    Example::

        model = Xetrieval.default()
        served = MilvusIndex(model, "http://localhost:19530", "corpus")
        explain = model.encoder() >> served.retriever(num_results=10) >> served.explainer()
    """

    def __init__(self, model, uri, collection: str):
        self.model, self.uri, self.collection = model, absolute(uri), collection
        self.client = connect(uri, "MilvusIndex")
        if not self.client.has_collection(collection):
            cut_off = self.client.has_collection(f"{collection}{UNFINISHED}")
            state = "an upload that was cut off; start it again" if cut_off else "nothing"
            raise FileNotFoundError(f"no collection {collection!r} in {self!r} (found {state})")
        self.settings = facts_of(self.client, collection)
        if self.settings is None:
            raise ValueError(f"collection {collection!r} is not one that pyterrier_xetrieval.milvus.upload has made")
        if self.settings["version"] != VERSION:
            found = self.settings["version"]
            raise ValueError(f"collection {collection!r} has layout {found}, this version of the package reads layout {VERSION}")
        model.check_aspects(self.aspects, stage=f"collection {collection!r}")
        found = fingerprint(model, self.aspects)
        if found != self.settings["model_sha256"]:
            raise ValueError(
                f"collection {collection!r} expects the model with sha256 {self.settings['model_sha256']}, found {model!r} with {found}"
            )
        self.client.load_collection(collection)

    @property
    def aspects(self) -> tuple[str, ...]:
        """The views beside the original one."""
        return tuple(self.settings["aspects"])

    def __len__(self) -> int:
        return self.settings["documents"]

    def retriever(self, *, num_results: int = 1000) -> MilvusRetriever:
        """Multi-view first stage: :class:`MilvusRetriever`."""
        return MilvusRetriever(self, num_results=num_results)

    def vec_loader(self) -> MilvusVectorLoader:
        """Adds the original ``doc_vec`` by docno: :class:`MilvusVectorLoader`."""
        return MilvusVectorLoader(self)

    def explainer(self, *, aspects: Sequence[str] | None = None, threshold: float = 0.0, top: int = 10) -> MilvusExplainer:
        """Explains results from the stored codes: :class:`MilvusExplainer`."""
        return MilvusExplainer(self, aspects=aspects, threshold=threshold, top=top)

    def fetch(self, docnos: list[str], fields: Sequence[str], *, stage) -> tuple[list[dict], np.ndarray]:
        """The distinct ones of these documents, with these fields, and which one each row has, int64 ``[n]``.

        Raises:
            ValueError: a docno that the collection does not hold; the message names ``stage``.
        """
        distinct = {docno: i for i, docno in enumerate(dict.fromkeys(docnos))}
        asked = list(distinct)
        found = {}  # Milvus answers in an order of its own
        for start in range(0, len(asked), BATCH):
            these = one_of(asked[start : start + BATCH])
            for entity in self.client.query(self.collection, these, output_fields=[DOCNO, *fields]):
                for field in {FOLDED, VECTOR}.intersection(fields):  # a list of Python's numbers is ten times as large
                    entity[field] = np.array(entity[field], np.float32)
                found[entity[DOCNO]] = entity
        unknown = [docno for docno in distinct if docno not in found]
        if unknown:
            raise ValueError(f"{stage!r} does not find {len(unknown)} of the documents asked for, the first is {unknown[0]!r}")
        return [found[docno] for docno in distinct], np.array([distinct[docno] for docno in docnos], np.int64)

    def __reduce__(self):  # connects again
        return MilvusIndex, (self.model, self.uri, self.collection)

    def _identity(self) -> tuple:
        return self.model, self.uri, self.collection

    def __eq__(self, other) -> bool:
        return self._identity() == other._identity() if isinstance(other, MilvusIndex) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        # an address may hold a password, and a client's own repr holds a place in memory
        uri = repr(re.sub("//[^/@]*@", "//…@", self.uri)) if isinstance(self.uri, str) else type(self.uri).__name__
        return f"MilvusIndex({self.model!r}, {uri}, {self.collection!r})"
