"""The artifact: a whole corpus as vectors, folded vectors, sparse codes and postings, and the factory of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import torch
from pyterrier_dr import FlexIndex

from ..model import Xetrieval
from ..stages.load import VectorLoader
from ..store.files import artifact_facts
from .explain import IndexExplainer, features_of
from .features import FeatureRetriever, documents_of, feature_statistics
from .float16 import HalfFlexIndex
from .indexer import XetrievalIndexer
from .retrieve import IndexRetriever
from .storage import FOLDED, META, MODEL, SHARDS, VECTORS, VERSION, Layout, sha256


class XetrievalIndex(pt.Artifact):
    """A corpus that explains: retrieves by all views and explains results from what it stores.

    Made by ``(encoder >> model.indexer(path)).index(corpus)``. Holds the original and the folded vectors as
    :class:`pyterrier_dr.FlexIndex`, the sparse codes of all views, postings from features to documents, and the model.
    Explaining runs the dictionary on the query alone.

    Args:
        path: the index's folder.
        device: where the model's weights go; the CPU unless said otherwise.

    Raises:
        FileNotFoundError: no finished index at ``path``.
        ValueError: another kind of artifact, damaged facts, or a data file that is shorter than it was (:meth:`verify`
            compares content).

    Example::

        model = Xetrieval.default()
        index = (model.encoder() >> model.indexer("corpus.xetrieval")).index(corpus)
        explain = model.encoder() >> index.retriever(num_results=10) >> index.explainer()
        print(explain.search("sort a list by two keys").iloc[0].explanation)
    """

    ARTIFACT_TYPE, ARTIFACT_FORMAT, ARTIFACT_PACKAGE_HINT = "dense_index", "xetrieval", "pyterrier_xetrieval"

    def __init__(self, path, *, device: str | None = None):
        super().__init__(Path(path).expanduser().absolute())
        self.device = str(torch.device(device or "cpu"))
        self.meta = self._read_meta()
        self._check_shards()
        self.layout = Layout(self.path, self.meta["shards"])
        if len(self.layout) != self.meta["documents"]:
            raise ValueError(f"{self.path} is damaged: expected {self.meta['documents']} documents, found {len(self.layout)}")

    @property
    def settings(self) -> dict:
        """What was chosen when the index was made: aspects, weights, refit, dtype, shard size."""
        return self.layout.settings

    @property
    def aspects(self) -> tuple[str, ...]:
        """The views beside the original one."""
        return tuple(self.settings["aspects"])

    @cached_property
    def model(self) -> Xetrieval:
        """The model that the corpus was indexed with, stored in the index."""
        return Xetrieval(self.path / MODEL, device=self.device)

    @cached_property
    def vectors(self) -> FlexIndex:
        """The original vectors, for every pyterrier_dr stage."""
        return self._flex(VECTORS)

    @cached_property
    def folded(self) -> FlexIndex:
        """The folded vectors: a dot product with one is the multi-view score (Eq. 11)."""
        return self._flex(FOLDED)

    def __len__(self) -> int:
        return len(self.layout)

    def encoder(self, **options):
        """The encoder of the model: :meth:`Xetrieval.encoder`."""
        return self.model.encoder(**options)

    def indexer(self, *, encoder=None, resume: bool = True, batch_size: int = 256) -> XetrievalIndexer:
        """Adds documents as new shards: ``index = (encoder >> index.indexer()).index(more)``.

        The index stays as it is until the addition is finished; an object that was loaded before goes on without it. Load
        the index again before pyterrier_dr builds a search structure on ``vectors`` or ``folded``, which share a folder.
        """
        return XetrievalIndexer.adding(self, encoder=encoder, resume=resume, batch_size=batch_size)

    def retriever(self, *, num_results: int = 1000, device: str | None = None) -> IndexRetriever:
        """Multi-view first stage, one exact dot product per document: :class:`IndexRetriever`."""
        return IndexRetriever(self, num_results=num_results, device=device)

    def vec_loader(self) -> VectorLoader:
        """Adds the original ``doc_vec`` by docno: :class:`~pyterrier_xetrieval.VectorLoader`."""
        return VectorLoader(self.vectors)

    def explainer(self, *, aspects: Sequence[str] | None = None, threshold: float = 0.0, top: int = 10) -> IndexExplainer:
        """Explains results from the stored codes: :class:`IndexExplainer`."""
        return IndexExplainer(self, aspects=aspects, threshold=threshold, top=top)

    def feature_retriever(self, features=None, *, num_results: int = 1000) -> FeatureRetriever:
        """Retrieves by features instead of vectors: :class:`FeatureRetriever`."""
        return FeatureRetriever(self, features, num_results=num_results)

    def documents_of(self, feature: int, *, num_results: int | None = None) -> pd.DataFrame:
        """The documents in which a feature is active, strongest first: ``docno``, ``activation`` (largest over the views)."""
        return documents_of(self, feature, num_results=num_results)

    def features_of(self, docno: str) -> pd.DataFrame:
        """The features of a document, strongest first: ``feature``, ``label``, ``views``, ``activation``."""
        return features_of(self, docno)

    def feature_statistics(self) -> pd.DataFrame:
        """One row per feature: ``feature``, ``label``, ``documents`` (in how many it is active in some view), and
        ``mean_activation`` and ``max_activation`` over these documents (largest over the views of each)."""
        return feature_statistics(self)

    def docids(self, docnos: Sequence[str], *, guess: np.ndarray | None = None) -> np.ndarray:
        """The row of each document, int64; ValueError for a docno that the index does not hold.

        ``guess``: what a retriever says they are; taken if the index has these docnos there, which is quicker to read
        than to look up.
        """
        if guess is not None and guess.dtype.kind in "iu" and len(guess) and guess.min() >= 0 and guess.max() < len(self):
            if self.layout.docnos(guess.astype(np.int64)) == list(docnos):
                return guess.astype(np.int64)
        # a NUL at the end is lost in numpy's strings, and no docno has one
        asked = np.array([d if isinstance(d, str) and "\0" not in d else "" for d in docnos], dtype=np.str_)
        found = np.asarray(self.vectors.docnos().inv[asked], np.int64)
        unknown = np.flatnonzero((found < 0) | (found >= len(self)) | (asked == ""))
        if len(unknown):
            name = docnos[unknown[0]]
            raise ValueError(f"{self!r} does not hold {len(unknown)} of the documents asked for, the first is {name!r}")
        return found

    def verify(self) -> None:
        """Reads the whole index and compares it with its checksums; ValueError names the first piece that differs."""
        self._check_shards()
        self.layout.verify()
        expected = self.meta["sha256"].get("docnos.npids")
        for folder in (VECTORS, FOLDED):
            found = sha256(self.path / folder / "docnos.npids")
            if found != expected and (self.path / SHARDS).stat().st_size > self.meta["shards_bytes"]:
                raise ValueError(f"an addition to {self.path} was cut off as it finished; add the same documents again")
            if found != expected:
                raise ValueError(f"{self.path / folder / 'docnos.npids'} is damaged: it does not fit its checksum")
        fresh = Xetrieval(self.path / MODEL)
        fresh.sae, fresh.internalizers, fresh.labels  # noqa: B018  (reading compares)

    def bytes_per_document(self) -> dict[str, float]:
        """Bytes on disk per document, by file; the model apart."""
        sizes = dict(self.layout.ends)
        sizes["docnos.npids"] = sum((self.path / folder / "docnos.npids").stat().st_size for folder in (VECTORS, FOLDED))
        sizes[SHARDS] = self.meta["shards_bytes"]
        return {name: size / len(self) for name, size in sizes.items()}

    def _check_shards(self) -> None:
        found, expected = sha256(self.path / SHARDS, 0, self.meta["shards_bytes"]), self.meta["sha256"].get(SHARDS)
        if found != expected:
            raise ValueError(f"{self.path / SHARDS} is damaged: expected sha256 {expected}, found {found}")

    def _flex(self, folder: str) -> FlexIndex:
        kind = HalfFlexIndex if self.settings["dtype"] == "float16" else FlexIndex
        flex = kind(str(self.path / folder), verbose=False)
        # as many documents as this index has, also while an addition is at work on the folder
        flex._meta = {"type": "dense_index", "format": "flex", "vec_size": self.settings["dim"], "doc_count": len(self)}
        return flex

    def _read_meta(self) -> dict:
        try:
            meta = artifact_facts(self.path, XetrievalIndex, {"version", "documents", "shards", "shards_bytes", "sha256"})
        except FileNotFoundError:
            state = "an unfinished index; start its indexing again" if (self.path / SHARDS).exists() else "nothing"
            raise FileNotFoundError(f"no finished XetrievalIndex at {self.path}: {META} is missing (found {state})") from None
        if meta["version"] != VERSION:
            raise ValueError(f"{self.path} has layout {meta['version']}, this version of the package reads layout {VERSION}")
        return meta

    def __reduce__(self):  # memory maps stay where they are
        return _open, (str(self.path), self.device)

    def __eq__(self, other) -> bool:
        if not isinstance(other, XetrievalIndex):
            return NotImplemented
        return (self.path, self.device, len(self)) == (other.path, other.device, len(other))

    def __hash__(self) -> int:
        return hash((str(self.path), self.device, len(self)))

    def __repr__(self) -> str:
        return f"XetrievalIndex({str(self.path)!r})"


def _open(path: str, device: str) -> XetrievalIndex:
    return XetrievalIndex(path, device=device)
