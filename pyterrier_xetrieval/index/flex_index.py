"""The vectors of an index as a FlexIndex, for every stage of pyterrier_dr.

A FlexIndex reads a folder of its own: float32 vectors of as many documents as its metadata say. These have the vectors
of an index's layout instead, float32 or float16, without those of deleted documents, and keep to its documents while an
addition or a deletion is at work on the folder.
Everything of pyterrier_dr reads through :meth:`FlexIndex.payload`, which is what is overridden here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyterrier as pt
import torch
from npids import Lookup
from pyterrier_dr import FlexIndex
from pyterrier_dr.flex.faiss_retr import FaissRetriever
from pyterrier_dr.util import infer_device

from ..documents import as_texts
from .deleted_rows import LiveVectors
from .docnos import LiveLookup, located, open_lookup
from .storage import LOOKUP, HalfVectors, Layout

_BLOCK = 2048  # rows widened at once: they stay in the processor's cache between widening and product


class StoredFlexIndex(FlexIndex):
    """A FlexIndex over the original or the folded vectors of an index.

    Args:
        layout: of the index.
        folder: ``VECTORS`` or ``FOLDED``.

    Raises:
        RuntimeError: a version of pyterrier_dr that reads a FlexIndex in another way.
    """

    # PyTerrier gives an indexer that is also a transformer this method as an attribute: a circle, which keeps the lookups of an index
    # that is opened again and again in memory until Python looks for circles
    transform_iter = pt.Transformer.transform_iter

    def __init__(self, layout: Layout, folder: str):
        if [*inspect.signature(FlexIndex.payload).parameters] != ["self", "return_dvecs", "return_docnos"]:
            raise RuntimeError(
                f"the installed pyterrier-dr {version('pyterrier-dr')} reads a FlexIndex in another way than pyterrier-dr 0.8.1, "
                "which XetrievalIndex follows; install pyterrier-dr 0.8.1"
            )
        super().__init__(str(layout.path / folder), verbose=False)
        self.layout, self.folder = layout, folder
        self.lookup: Lookup | LiveLookup | None = None

    def payload(self, return_dvecs: bool = True, return_docnos: bool = True) -> list:
        """The lookup of docnos and the vectors, if asked for, and the facts that pyterrier_dr expects."""
        facts = {"type": "dense_index", "format": "flex", "vec_size": self.layout.settings["dim"], "doc_count": len(self.layout)}
        if return_docnos and self.lookup is None:
            self.lookup = open_lookup(self.layout.path / self.folder / LOOKUP, self.layout)
        docnos = [self.lookup] if return_docnos else []
        return [*docnos, *([self.layout.vectors(self.folder)] if return_dvecs else []), facts]

    def _load_docids(self, inp: pd.DataFrame) -> np.ndarray:
        """The documents of a frame, for every stage that starts from documents; ValueError for one that is not there.

        pyterrier_dr trusts ``docid``, which may come from before a deletion, and takes the last vector for unknown docnos.
        """
        if "docno" not in inp:
            return super()._load_docids(inp)
        docnos = as_texts(inp["docno"].tolist(), stage=self)
        found = located(self.layout, self.docnos(), docnos, inp["docid"].to_numpy() if "docid" in inp else None)
        if len(unknown := np.flatnonzero(found < 0)):
            raise ValueError(f"{self!r} does not hold {len(unknown)} of the documents, the first is {docnos[unknown[0]]!r}")
        return found

    def __reduce__(self) -> tuple:  # what was read from the files stays there
        return _reopened, (self.layout.path, len(self.layout.shards), self.layout.deleted.rows, self.folder)


class ConvertedFlexIndex(StoredFlexIndex):
    """A FlexIndex over vectors that are no float32 file: every stage that reads them gets float32, a block at a time.

    These are float16 vectors, and those of an index with deleted documents (:class:`LiveFlexIndex`). Backends that build a
    structure of their own (faiss, voyager, flatnav) hold it in float32, as they do over a FlexIndex;
    ``torch_retriever(fp16=True)`` keeps the vectors as they are stored. Two backends need the file itself to be float32:
    ``kannolo_hnsw_retriever`` and ``scann_retriever`` raise a ValueError.
    """

    def __init__(self, layout: Layout, folder: str):
        super().__init__(layout, folder)
        self._copies: dict[Any, Any] = {}  # the vectors in torch and faiss

    def _copy(self, key: Any, make: Callable[[HalfVectors | LiveVectors], Any]) -> Any:
        if key not in self._copies:
            self._copies[key] = make(self.np_vecs())
        return self._copies[key]

    def np_retriever(self, *, batch_size: int | None = None, **options: Any) -> pt.Transformer:
        """:meth:`FlexIndex.np_retriever`, in smaller blocks unless said otherwise."""
        return super().np_retriever(batch_size=_BLOCK if batch_size is None else batch_size, **options)

    retriever = np_retriever

    def torch_vecs(self, *, device: str | None = None, fp16: bool = False) -> torch.Tensor:
        """All vectors on the device; with ``fp16`` as float16."""
        place = infer_device(device)

        def copied(vectors: HalfVectors | LiveVectors) -> torch.Tensor:
            stored = torch.from_numpy(np.asarray(vectors.stored if isinstance(vectors, HalfVectors) else vectors)).to(place)
            return stored.half() if fp16 else stored.float()

        return self._copy((place, fp16), copied)

    def faiss_flat_retriever(self, *, qbatch: int = 64, drop_query_vec: bool = False) -> pt.Transformer:
        """Exact search by faiss, which holds the vectors in memory as float32."""
        flat = self._copy("faiss", _faiss_flat)
        return FaissRetriever(self, flat, qbatch=qbatch, drop_query_vec=drop_query_vec, index_spec=("faiss_flat", False))

    def kannolo_hnsw_retriever(self, *_: Any, **__: Any) -> NoReturn:
        raise self._refused("kannolo_hnsw_retriever")

    def scann_retriever(self, *_: Any, **__: Any) -> NoReturn:
        raise self._refused("scann_retriever")

    def _refused(self, name: str) -> ValueError:
        return ValueError(f"{name} expects float32 vectors on disk, found float16 at {self.index_path}; use another retriever")


class LiveFlexIndex(ConvertedFlexIndex):
    """A FlexIndex over the documents of an index that are not deleted.

    All its stages see these documents alone, numbered one after the other. What pyterrier_dr would keep on the disk beside
    the vectors, over all rows, is made in memory or refused.
    """

    def __init__(self, layout: Layout, folder: str):
        super().__init__(layout, folder)
        # no folder: pyterrier_dr looks for its structures here, and compares retrievers by it
        self.index_path = layout.path / folder / f"without-{len(layout.deleted)}"

    def built(self) -> bool:
        return True

    def faiss_hnsw_retriever(self, *args: Any, **options: Any) -> pt.Transformer:
        """:meth:`FlexIndex.faiss_hnsw_retriever`, its graph in memory."""
        return super().faiss_hnsw_retriever(*args, **{**options, "cache": False})

    def faiss_ivf_retriever(self, **options: Any) -> pt.Transformer:
        """:meth:`FlexIndex.faiss_ivf_retriever`, its lists in memory."""
        return super().faiss_ivf_retriever(**{**options, "cache": False})

    def _refused(self, name: str) -> ValueError:
        return ValueError(
            f"{name} expects an index without deleted documents, found {len(self.layout.deleted)} in {str(self.layout.path)!r}; "
            "index.compact(path) writes one, or use another retriever"
        )


def _refuse_on_disk(name: str) -> None:
    def refused(self: LiveFlexIndex, *_: Any, **__: Any) -> NoReturn:
        raise self._refused(name)

    setattr(LiveFlexIndex, name, refused)


# they keep graphs or structures on the disk, or take graphs that number documents as they were when they were made
for _name in (
    "voyager_retriever", "flatnav_retriever", "faiss_hnsw_graph", "corpus_graph", "gar", "ladr", "pre_ladr", "ladr_proactive",
    "ada_ladr", "ladr_adaptive",
):  # fmt: skip
    _refuse_on_disk(_name)


def flex_index(layout: Layout, folder: str) -> StoredFlexIndex:
    """The original (``VECTORS``) or the folded vectors (``FOLDED``) of an index."""
    if len(layout.deleted):
        return LiveFlexIndex(layout, folder)
    return (ConvertedFlexIndex if layout.dtype == "float16" else StoredFlexIndex)(layout, folder)


def _faiss_flat(vectors: HalfVectors | LiveVectors) -> Any:
    import faiss  # late: only this retriever needs it

    flat = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), _BLOCK):
        flat.add(vectors[start : start + _BLOCK])
    return flat


def _reopened(path: Path, shards: int, deleted: np.ndarray, folder: str) -> StoredFlexIndex:
    return flex_index(Layout(path, shards, deleted), folder)
