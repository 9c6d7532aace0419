"""The artifact: a whole corpus as vectors, folded vectors, sparse codes and postings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyterrier as pt
import torch

from ..core.batches import device_of
from ..core.codes import DocumentCodes
from ..core.mean_document import MeanDocument
from ..model import Xetrieval
from .deletion import delete, read_deleted
from .docnos import located
from .features import IndexFeatures
from .folded_views import FoldedViews
from .opening import read_facts, verify
from .packing import unpack
from .stages import IndexStages
from .storage import DELETED, FOLDED, LOOKUP, MODEL, SHARDS, VECTORS, Layout

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex

MEAN_OF = 4096  # documents


class XetrievalIndex(FoldedViews, IndexStages, IndexFeatures, pt.Artifact):
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
        self.meta = read_facts(self.path, XetrievalIndex)
        self.layout = Layout(self.path, self.meta["shards"], read_deleted(self.path, self.meta))
        if len(self.layout) != self.meta["documents"]:
            raise ValueError(f"{self.path} is damaged: expected {self.meta['documents']} documents, found {len(self.layout)}")
        self.aspects: tuple[str, ...] = tuple(self.settings["aspects"])  # the views beside the original one that are in use
        self._means: dict[tuple[str, ...], MeanDocument] = {}  # by the views in use

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen when the index was made: aspects, weights, refit, dtype, shard size, texts, evidence."""
        return self.layout.settings

    @cached_property
    def _model(self) -> Xetrieval:  # type: ignore[override]  # read on first use
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

    @property
    def searched(self) -> str:
        """Whose dot products are the scores: ``"folded"``, or ``"vectors"``, the original ones, where no views are in use."""
        return FOLDED if self.aspects else VECTORS

    def codes(self, docids: np.ndarray) -> DocumentCodes:
        """The sparse codes of these documents, int64 ``[n]``, in the views that are in use.

        Raises:
            DamagedCodes: a ValueError, for codes that do not fit together.
        """
        stored = unpack(self.layout.codes(docids), 1 + len(self.settings["aspects"]), self.settings["dict_size"])
        return stored.first_views(1 + len(self.aspects))

    def __len__(self) -> int:
        return len(self.layout)

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

    def mean_document(self) -> MeanDocument | None:
        """The mean of the index's documents, of at most 4,096 of them at equal distances; None for a model that needs none.

        The index's explainer measures scores against it where the dictionary's bias is long
        (:meth:`~pyterrier_xetrieval.Xetrieval.mean_document`).
        """
        if not self.model.has_long_bias:
            return None
        if self.aspects not in self._means:
            docids = np.unique(np.linspace(0, len(self) - 1, min(len(self), MEAN_OF)).astype(np.int64))
            weights, vectors = (1.0, *self.model.weights.values()), self.layout.vectors(self.searched)[docids]
            self._means[self.aspects] = MeanDocument.of(vectors, self.codes(docids), weights, self.settings["dict_size"])
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
        verify(self, verbose=verbose)

    def bytes_per_document(self) -> dict[str, float]:
        """Bytes on disk per document that is left, by file, those of deleted ones included; the model apart."""
        lookups = sum((self.path / folder / LOOKUP).stat().st_size for folder in (VECTORS, FOLDED))
        sizes = {**self.layout.ends, LOOKUP: lookups, SHARDS: self.meta["shards_bytes"]}
        if len(self.layout.deleted):
            sizes[DELETED] = (self.path / DELETED).stat().st_size
        return {name: size / len(self) for name, size in sizes.items()}

    def _flex(self, folder: str) -> FlexIndex:
        from .flex_index import flex_index  # late: pyterrier_dr takes seconds to import

        return flex_index(self.layout, folder)

    def _identity(self) -> tuple:
        return str(self.path), self.device, self.layout.deleted.total, len(self), self.aspects

    def __reduce__(self) -> tuple:  # memory maps stay where they are
        return _open, (str(self.path), self.device, self.aspects)

    def __repr__(self) -> str:
        name = f"XetrievalIndex({str(self.path)!r})"
        return name if self.aspects or not self.settings["aspects"] else f"{name}.with_views(())"


def _open(path: str, device: str, aspects: tuple[str, ...]) -> XetrievalIndex:
    return XetrievalIndex(path, device=device).with_views(aspects)
