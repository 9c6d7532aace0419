"""The artifact: a whole corpus as vectors, folded vectors, sparse codes and postings, and the factory of its stages."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import torch

from ..core.batches import device_of
from ..core.checks import distinct_aspects
from ..core.codes import encode_view
from ..core.mean_document import MeanDocument
from ..model import Xetrieval
from ..stages.load import VectorLoader
from ..store.facts import COUNT, TEXTS_BY_NAME, check_facts, is_count, regular
from ..store.files import artifact_facts
from .deletion import delete, read_deleted
from .docnos import located
from .evidence import IndexEvidence
from .explain import IndexExplainer
from .features import documents_of, feature_statistics, features_of
from .packing import unpack
from .retrieve import FeatureRetriever, Features, IndexRetriever
from .storage import (
    DELETED,
    EVIDENCE,
    FOLDED,
    LOOKUP,
    META,
    MODEL,
    SHARDS,
    TEXTS,
    VECTORS,
    VERSION,
    VERSION_WITH_DELETIONS,
    Layout,
    sha256,
)  # fmt: skip
from .texts import TextLoader

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder, FlexIndex

    from .indexer import XetrievalIndexer


MEAN_OF = 4096  # documents


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
        print(explain.search("sort a list by two keys").iloc[0].explanation.to_text())
    """

    ARTIFACT_TYPE, ARTIFACT_FORMAT, ARTIFACT_PACKAGE_HINT = "dense_index", "xetrieval", "pyterrier_xetrieval"
    path: Path

    def __init__(self, path: str | os.PathLike[str], *, device: str | int | torch.device | None = None):
        super().__init__(Path(path).expanduser().absolute())
        self.device = str(device_of(device))
        self.meta = self._read_meta()
        self._check_shards()
        self.layout = Layout(self.path, self.meta["shards"], read_deleted(self.path, self.meta))
        if len(self.layout) != self.meta["documents"]:
            raise ValueError(f"{self.path} is damaged: expected {self.meta['documents']} documents, found {len(self.layout)}")
        self.aspects: tuple[str, ...] = tuple(self.settings["aspects"])  # the views beside the original one that are in use
        self._means: dict[tuple[str, ...], MeanDocument] = {}  # by the views in use

    def with_views(self, aspects: Sequence[str] | None = None) -> XetrievalIndex:
        """The same index seen without its views, or with all again; this one stays as it is.

        Without views its retriever ranks by the original vectors, and its explainer explains ``⟨q,z⟩``. The methods that
        start from features or documents (``feature_retriever``, ``features_of`` and so on) go on with all views.

        Args:
            aspects: ``()`` for none, None for all.

        Raises:
            ValueError: some of the views. A folded vector is the sum of all, which cannot be taken apart.

        Example::

            dense = index.with_views(())
            model.encoder() >> dense.retriever(num_results=10) >> dense.explainer()
        """
        stored = self.settings["aspects"]
        chosen = stored if aspects is None else distinct_aspects(aspects, stage="XetrievalIndex.with_views")
        if chosen and set(chosen) != set(stored):
            raise ValueError(
                f"XetrievalIndex.with_views expects all of {stored} or (), found {list(chosen)}: its folded vectors are the sum of "
                "all views; index the corpus again with model.with_views(…) for others"
            )
        index = object.__new__(XetrievalIndex)  # copy.copy would open the files again, as unpickling does
        index.__dict__.update(self.__dict__, _model=self._model, aspects=tuple(stored) if chosen else ())
        return index

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen when the index was made: aspects, weights, refit, dtype, shard size, texts, evidence."""
        return self.layout.settings

    @property
    def model(self) -> Xetrieval:
        """The model that the corpus was indexed with, stored in the index; with the views that are in use."""
        return self._model.with_views(self.aspects)

    @cached_property
    def _model(self) -> Xetrieval:
        stored = Xetrieval(self.path / MODEL, device=self.device)
        if more := set(self.settings["aspects"]) - set(stored.aspects):
            raise ValueError(f"{self.path} is damaged: it has views {sorted(more)}, its model has {list(stored.aspects)}")
        return stored.with_views(self.settings["aspects"], self.settings["weights"])

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

    def encoder(self, **options: Any) -> BiEncoder:
        """The encoder of the model: :meth:`Xetrieval.encoder`."""
        return self.model.encoder(**options)

    def indexer(
        self, *, encoder: pt.Transformer | None = None, replace: bool = False, resume: bool = True, batch_size: int = 256,
        verbose: bool = False,
    ) -> XetrievalIndexer:  # fmt: skip
        """Adds documents as new shards: ``index = (encoder >> index.indexer()).index(more)``.

        The index stays as it is until the addition is finished; an object that was loaded before goes on without it. Load
        the index again (:meth:`reopened`) before pyterrier_dr builds a search structure on ``vectors`` or ``folded``: such
        structures are kept in a folder that all objects of the index share. An index that keeps evidence needs ``encoder``.

        Args:
            encoder, resume, batch_size, verbose: as in :class:`XetrievalIndexer`.
            replace: a document takes the place of the one with the same docno, if the index holds one; all of them in one step
                when the addition is finished. Without it such a document is an error.
        """
        from .indexer import XetrievalIndexer  # late: it makes indexes, and so imports this module

        indexer = XetrievalIndexer(
            self.with_views().model, self.path, encoder=encoder, refit=self.settings["refit"], dtype=self.settings["dtype"],
            texts=self.settings.get(TEXTS, False), evidence=self.settings.get(EVIDENCE, False), resume=resume,
            batch_size=batch_size, shard_size=self.settings["shard_size"], verbose=verbose,
        )  # fmt: skip
        indexer.adds, indexer.replaces = True, bool(replace)
        return indexer

    def delete(self, docnos: Iterable[str]) -> XetrievalIndex:
        """Deletes documents, all of them or none, and returns the index without them.

        The stages of the returned index neither return nor count them. An object that was loaded before goes on with them.
        Their bytes stay on the disk until :meth:`compact`. The number of a document (``docid``) is its place among those
        that are left. Their docnos may be added again.

        With deleted documents, ``vectors`` and ``folded`` keep the structures of faiss in memory instead of on the disk,
        and refuse the backends of pyterrier_dr that read the stored file or graphs of it; a compacted index has them all.

        Args:
            docnos: of the documents; a docno given twice counts once.

        Raises:
            ValueError: a docno that the index does not hold; no document would be left.
            FileExistsError: another run is writing to the index.

        Example::

            index = index.delete(["d7", "d12"])
        """
        return delete(self, docnos)

    def compact(self, path: str | os.PathLike[str], *, verbose: bool = False) -> XetrievalIndex:
        """Writes the documents that are left as a new index with full shards, without encoding anything.

        Args:
            path: a folder that does not exist yet.
            verbose: show a progress bar.

        Raises:
            FileExistsError: something is at ``path``.

        Example::

            index = index.delete(["d7"]).compact("smaller.xetrieval")
        """
        from .merging import merge  # late: it makes indexes, and so imports this module

        return merge([self], path, verbose=verbose).with_views(self.aspects)

    def reopened(self) -> XetrievalIndex:
        """The index as it is on the disk now, with what was added and deleted since this object was loaded."""
        return _open(str(self.path), self.device, self.aspects)

    def retriever(self, *, num_results: int = 1000, device: str | None = None) -> IndexRetriever:
        """First stage, one exact dot product per document: :class:`IndexRetriever`."""
        return IndexRetriever(self, num_results=num_results, device=device)

    def vec_loader(self) -> VectorLoader:
        """Adds the original ``doc_vec`` by docno: :class:`~pyterrier_xetrieval.VectorLoader`."""
        return VectorLoader(self.vectors)

    def text_loader(self) -> TextLoader:
        """Adds ``text`` by docno, of an index made with ``texts=True``: :class:`TextLoader`."""
        return TextLoader(self)

    def evidence(self, encoder: BiEncoder | None = None) -> IndexEvidence:
        """Adds words to explanations, of an index made with ``evidence=True``: :class:`IndexEvidence`."""
        return IndexEvidence(self, encoder)

    def explainer(self, *, threshold: float = 0.0, min_confidence: float | None = None, top: int = 10) -> IndexExplainer:
        """Explains results from the stored codes: :class:`IndexExplainer`."""
        return IndexExplainer(self, threshold=threshold, min_confidence=min_confidence, top=top)

    def feature_retriever(self, features: Features | None = None, *, num_results: int = 1000) -> FeatureRetriever:
        """Retrieves by features instead of vectors: :class:`FeatureRetriever`."""
        return FeatureRetriever(self, features, num_results=num_results)

    def documents_of(self, feature: int, *, num_results: int | None = None) -> pd.DataFrame:
        """The documents in which a feature is active, strongest first: ``docno``, ``activation`` (largest over the views).

        Args:
            feature: its id.
            num_results: how many documents at most; None for all.

        Raises:
            ValueError: a feature that the dictionary does not have.
        """
        return documents_of(self, feature, num_results=num_results)

    def features_of(self, docno: str) -> pd.DataFrame:
        """The features of a document, strongest first: ``feature``, ``label``, ``views``, ``activation``.

        ``views`` are those in which the feature is active, comma-separated; ``activation`` is the largest over them.

        Raises:
            ValueError: a docno that the index does not hold.
        """
        return features_of(self, docno)

    def feature_statistics(self) -> pd.DataFrame:
        """How often and how strongly the index's documents have each feature, one row per feature.

        Columns are ``feature``, ``label``, ``documents`` (in how many it is active in some view), and ``mean_activation`` and
        ``max_activation`` over these documents (of each the largest over its views).
        """
        return feature_statistics(self)

    def mean_document(self) -> MeanDocument | None:
        """The mean of the index's documents, of at most 4,096 of them at equal distances; None for a model that needs none.

        The index's explainer measures scores against it where the dictionary's bias is long
        (:meth:`~pyterrier_xetrieval.Xetrieval.mean_document`).
        """
        if not self.model.has_long_bias:
            return None
        if self.aspects not in self._means:
            docids = np.unique(np.linspace(0, len(self) - 1, min(len(self), MEAN_OF)).astype(np.int64))
            weights = (1.0, *self.model.weights.values())
            dict_size = self.settings["dict_size"]
            codes = unpack(self.layout.codes(docids), 1 + len(self.settings["aspects"]), dict_size).first_views(len(weights))
            vectors = self.layout.vectors(FOLDED if self.aspects else VECTORS)[docids]
            self._means[self.aspects] = MeanDocument.of(vectors, codes, weights, dict_size)
        return self._means[self.aspects]

    def docids(self, docnos: Sequence[str], *, guess: np.ndarray | None = None) -> np.ndarray:
        """The number of each document among those that are not deleted, int64.

        Args:
            docnos: ``n`` of them.
            guess: ``[n]``, the numbers that a retriever gave; taken if the index has these docnos there, which is quicker to
                read than to look up.

        Raises:
            ValueError: a docno that the index does not hold.
        """
        found = located(self.layout, self.vectors.docnos(), docnos, guess)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            name = docnos[unknown[0]]
            raise ValueError(f"{self!r} does not hold {len(unknown)} of the documents asked for, the first is {name!r}")
        return found

    def verify(self, *, verbose: bool = False) -> None:
        """Reads the whole index and compares it with its checksums; ValueError names the first piece that differs.

        A warning tells of vectors that the model's encoder does not give: of another encoder, or not normalised.

        Args:
            verbose: show a progress bar.
        """
        self._check_shards()
        self.layout.verify(verbose=verbose)
        expected = self.meta["sha256"].get(LOOKUP)
        for file in (self.path / folder / LOOKUP for folder in (VECTORS, FOLDED)):
            found = sha256(regular(file))
            if found != expected and (self.path / SHARDS).stat().st_size > self.meta["shards_bytes"]:
                raise ValueError(f"an addition to {self.path} was cut off as it finished; add the same documents again")
            if found != expected:
                raise ValueError(f"{file} is damaged: it does not fit its checksum")
        fresh = Xetrieval(self.path / MODEL)
        fresh.sae, fresh.internalizers, fresh.labels  # noqa: B018  (reading compares)
        if fresh.vector_facts is not None and len(self):
            x = np.asarray(
                self.layout.vectors(VECTORS)[np.unique(np.linspace(0, len(self) - 1, 256).astype(np.int64))], np.float32
            )
            facts, codes = fresh.vector_facts, encode_view(fresh.sae, x, refit=False, batch_size=256)
            if problem := facts.wrong_length(x) or facts.wrong_space(fresh.sae, x, codes):
                warnings.warn(
                    f"{self!r} holds vectors that its model's encoder does not give: {problem}; index the corpus again with "
                    "model.encoder()", stacklevel=2,
                )  # fmt: skip

    def bytes_per_document(self) -> dict[str, float]:
        """Bytes on disk per document that is left, by file, those of deleted ones included; the model apart."""
        lookups = sum((self.path / folder / LOOKUP).stat().st_size for folder in (VECTORS, FOLDED))
        sizes = {**self.layout.ends, LOOKUP: lookups, SHARDS: self.meta["shards_bytes"]}
        if len(self.layout.deleted):
            sizes[DELETED] = (self.path / DELETED).stat().st_size
        return {name: size / len(self) for name, size in sizes.items()}

    def _check_shards(self) -> None:
        found, expected = sha256(regular(self.path / SHARDS), 0, self.meta["shards_bytes"]), self.meta["sha256"].get(SHARDS)
        if found != expected:
            raise ValueError(f"{self.path / SHARDS} is damaged: expected sha256 {expected}, found {found}")

    def _flex(self, folder: str) -> FlexIndex:
        from .flex_index import flex_index  # late: pyterrier_dr takes seconds to import

        return flex_index(self.layout, folder)

    def _read_meta(self) -> dict[str, Any]:
        try:
            meta = artifact_facts(self.path, XetrievalIndex, {"version", "documents", "shards", "shards_bytes", "sha256"})
        except FileNotFoundError:
            state = "an unfinished index; start its indexing again" if (self.path / SHARDS).exists() else "nothing"
            raise FileNotFoundError(f"no finished XetrievalIndex at {self.path}: {META} is missing (found {state})") from None
        file = self.path / META
        if meta["version"] not in (VERSION, VERSION_WITH_DELETIONS) and is_count(meta["version"]):
            raise ValueError(
                f"{self.path} has format {meta['version']}, this version of the package reads formats {VERSION} and "
                f"{VERSION_WITH_DELETIONS}; index the corpus again with it, model.indexer(path), or read it with pyterrier_xetrieval "
                f"{meta.get('package_version', 'of another version')}, which wrote it"
            )
        counts = ("version", "documents", "shards", "shards_bytes")
        check_facts(meta, {**dict.fromkeys(counts, COUNT), "sha256": TEXTS_BY_NAME}, file)
        return meta

    def _identity(self) -> tuple:
        return str(self.path), self.device, self.layout.deleted.total, len(self), self.aspects

    def __reduce__(self) -> tuple:  # memory maps stay where they are
        return _open, (str(self.path), self.device, self.aspects)

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, XetrievalIndex) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        name = f"XetrievalIndex({str(self.path)!r})"
        return name if self.aspects or not self.settings["aspects"] else f"{name}.with_views(())"


def _open(path: str, device: str, aspects: tuple[str, ...]) -> XetrievalIndex:
    return XetrievalIndex(path, device=device).with_views(aspects)
