"""The vectors of an index as a FlexIndex, for every stage of pyterrier_dr.

A FlexIndex reads a folder of its own: float32 vectors of as many documents as its metadata say. These have the vectors
of an index's layout instead, float32 or float16, and keep to its documents while an addition is at work on the folder.
Everything of pyterrier_dr reads through :meth:`FlexIndex.payload`, which is what is overridden here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import pyterrier as pt
import torch
from npids import Lookup
from pyterrier_dr import FlexIndex
from pyterrier_dr.flex.faiss_retr import FaissRetriever
from pyterrier_dr.util import infer_device

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

    def __init__(self, layout: Layout, folder: str):
        if [*inspect.signature(FlexIndex.payload).parameters] != ["self", "return_dvecs", "return_docnos"]:
            raise RuntimeError(
                f"the installed pyterrier-dr {version('pyterrier-dr')} reads a FlexIndex in another way than pyterrier-dr 0.8.1, "
                "which XetrievalIndex follows; install pyterrier-dr 0.8.1"
            )
        super().__init__(str(layout.path / folder), verbose=False)
        self.layout, self.folder = layout, folder
        self.lookup: Lookup | None = None

    def payload(self, return_dvecs: bool = True, return_docnos: bool = True) -> list:
        """The lookup of docnos and the vectors, if asked for, and the facts that pyterrier_dr expects."""
        facts = {"type": "dense_index", "format": "flex", "vec_size": self.layout.settings["dim"], "doc_count": len(self.layout)}
        if return_docnos and self.lookup is None:
            self.lookup = Lookup(self.index_path / LOOKUP)
        docnos = [self.lookup] if return_docnos else []
        return [*docnos, *([self.layout.vectors(self.folder)] if return_dvecs else []), facts]

    def __reduce__(self) -> tuple:  # what was read from the files stays there
        return _reopened, (type(self), self.layout.path, len(self.layout.shards), self.folder)


class HalfFlexIndex(StoredFlexIndex):
    """A FlexIndex over float16 vectors: every stage that reads them gets float32, a block at a time.

    Backends that build a structure of their own (faiss, voyager, flatnav) hold it in float32, as they do over a
    FlexIndex; ``torch_retriever(fp16=True)`` keeps the vectors as they are stored. Two backends need the file itself to
    be float32: ``kannolo_hnsw_retriever`` and ``scann_retriever`` raise a ValueError.
    """

    def __init__(self, layout: Layout, folder: str):
        super().__init__(layout, folder)
        self._copies: dict[Any, Any] = {}  # the vectors in torch and faiss

    def _copy(self, key: Any, make: Callable[[HalfVectors], Any]) -> Any:
        if key not in self._copies:
            self._copies[key] = make(self.np_vecs())
        return self._copies[key]

    def np_retriever(self, *, batch_size: int | None = None, **options: Any) -> pt.Transformer:
        """:meth:`FlexIndex.np_retriever`, in smaller blocks unless said otherwise."""
        return super().np_retriever(batch_size=_BLOCK if batch_size is None else batch_size, **options)

    retriever = np_retriever

    def torch_vecs(self, *, device: str | None = None, fp16: bool = False) -> torch.Tensor:
        """All vectors on the device; with ``fp16`` as they are stored."""
        place = infer_device(device)

        def copied(vectors: HalfVectors) -> torch.Tensor:
            stored = torch.from_numpy(vectors.stored).to(place)
            return stored if fp16 else stored.float()

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


def _faiss_flat(vectors: HalfVectors) -> Any:
    import faiss  # late: only this retriever needs it

    flat = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), _BLOCK):
        flat.add(vectors[start : start + _BLOCK])
    return flat


def _reopened(kind: type[StoredFlexIndex], path: Path, shards: int, folder: str) -> StoredFlexIndex:
    return kind(Layout(path, shards), folder)
