"""Vectors stored in half the bytes: float16 on disk, float32 wherever they are read."""

from __future__ import annotations

import numpy as np
import pyterrier as pt
import torch
from pyterrier_dr import FlexIndex
from pyterrier_dr.util import infer_device

_BLOCK = 2048  # rows widened at once


class HalfVectors:
    """A float16 matrix that is float32 to its readers: what is indexed, and nothing else, is widened.

    Slices and selections of rows are new float32 arrays; ``np.asarray`` widens everything. float16 numbers are float32
    numbers, so that nothing is lost. torch widens 20 times as fast as numpy's ``astype``, which would cost a retriever
    more than its dot products.

    Args:
        stored: float16 ``[n, m]``, writable as far as torch can see (a memory map in mode ``"c"``).
    """

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, stored: np.ndarray):
        self.stored = stored

    @property
    def shape(self) -> tuple[int, int]:
        return self.stored.shape

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, rows) -> np.ndarray:
        stored = self.stored[rows]
        if min(stored.strides, default=0) < 0:  # torch has no negative strides
            stored = stored.copy()
        return torch.from_numpy(np.asarray(stored, order="C")).float().numpy()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("HalfVectors are float16 on disk: an array of them is always a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)


class HalfFlexIndex(FlexIndex):
    """A FlexIndex over ``vecs.f2``, float16: every stage that reads vectors gets float32, a block at a time.

    Backends that build a structure of their own (faiss, voyager, flatnav) hold it in float32, as they do over a
    FlexIndex; ``torch_retriever(fp16=True)`` keeps the vectors as they are stored. Two backends need the file itself to
    be float32: ``kannolo_hnsw_retriever`` and ``scann_retriever`` raise a ValueError.
    """

    def payload(self, return_dvecs=True, return_docnos=True):
        if return_dvecs and self._dvecs is None:
            (meta,) = super().payload(return_dvecs=False, return_docnos=False)
            shape = (meta["doc_count"], meta["vec_size"])
            self._dvecs = HalfVectors(np.memmap(self.index_path / "vecs.f2", "<f2", "c", shape=shape).view(np.ndarray))
        return super().payload(return_dvecs=return_dvecs, return_docnos=return_docnos)

    def np_retriever(self, *, num_results=1000, batch_size=None, drop_query_vec=False, mask=None) -> pt.Transformer:
        """:meth:`FlexIndex.np_retriever`, in blocks that stay in the processor's cache between widening and product."""
        return super().np_retriever(
            num_results=num_results, batch_size=batch_size or _BLOCK, drop_query_vec=drop_query_vec, mask=mask
        )

    retriever = np_retriever

    def torch_vecs(self, *, device: str | None = None, fp16: bool = False) -> torch.Tensor:
        """All vectors on the device; with ``fp16`` as they are stored."""
        device = infer_device(device)
        key = ("torch_vecs", device, fp16)
        if key not in self._cache:
            stored = torch.from_numpy(self.np_vecs().stored).to(device)
            self._cache[key] = stored if fp16 else stored.float()
        return self._cache[key]

    def faiss_flat_retriever(self, *, gpu: bool = False, qbatch: int = 64, drop_query_vec: bool = False) -> pt.Transformer:
        """Exact search by faiss, which holds the vectors in memory as float32."""
        if "faiss_flat" not in self._cache:
            import faiss  # optional, as in pyterrier_dr

            vectors = self.np_vecs()
            flat = faiss.IndexFlatIP(vectors.shape[1])
            for start in range(0, len(vectors), _BLOCK):
                flat.add(vectors[start : start + _BLOCK])
            self._cache["faiss_flat"] = flat
        return super().faiss_flat_retriever(gpu=gpu, qbatch=qbatch, drop_query_vec=drop_query_vec)

    def kannolo_hnsw_retriever(self, *_, **__):
        raise self._refused("kannolo_hnsw_retriever")

    def scann_retriever(self, *_, **__):
        raise self._refused("scann_retriever")

    def _refused(self, name: str) -> ValueError:
        return ValueError(f"{name} expects float32 vectors on disk, found float16 at {self.index_path}; use another retriever")

    def __getstate__(self) -> dict:  # what was read from the files stays there
        return {**self.__dict__, "_dvecs": None, "_docnos": None, "_cache": {}}
