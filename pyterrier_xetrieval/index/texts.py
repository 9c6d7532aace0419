"""The texts that an index keeps, and the stage that adds them to results."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..stages.base import RowWiseStage
from ..stages.cells import plain_cells
from .docnos import docids_of
from .storage import TEXTS

if TYPE_CHECKING:
    from .artifact import XetrievalIndex

_RAW = -15  # deflate without the six bytes that zlib puts around it: every shard has a checksum


def pack_text(text: str) -> bytes:
    """A text in about half of its bytes (English prose of a few hundred words).

    >>> len(pack_text("the cat sat on the mat and the cat sat on the hat")) < 40, unpack_text(pack_text("Löwe"))
    (True, 'Löwe')
    """
    packer = zlib.compressobj(wbits=_RAW)
    return packer.compress(text.encode("utf-8", "surrogatepass")) + packer.flush()  # texts may hold half of a pair


def unpack_text(packed: bytes) -> str:
    """What :func:`pack_text` was given; ValueError for other bytes."""
    try:
        return zlib.decompress(packed, _RAW).decode("utf-8", "surrogatepass")
    except (zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"expected a packed text, found {len(packed)} other bytes: {error}") from None


class TextLoader(RowWiseStage):
    """Adds ``text`` from an index that keeps the texts of its documents, by ``docno``.

    Args:
        index: a :class:`~pyterrier_xetrieval.XetrievalIndex` made with ``model.indexer(path, texts=True)``.

    Raises:
        ValueError: an index without texts; a docno that the index does not hold; a damaged index.

    Example::

        model.encoder() >> index.retriever(num_results=10) >> index.text_loader() >> index.explainer() >> model.evidence()
    """

    def __init__(self, index: XetrievalIndex):
        if not index.settings.get(TEXTS):
            raise ValueError(
                f"TextLoader expects an index that keeps the texts of its documents, found {index!r} without; index the corpus "
                "with model.indexer(path, texts=True), or give the pipeline a text loader of your own"
            )
        self.index = index

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["docno"])
        inp = plain_cells(inp)
        found = np.empty(len(inp), dtype=object)
        if len(inp):
            docids, rows = docids_of(self.index, inp, stage=self)
            texts = np.empty(len(docids), dtype=object)
            texts[:] = stored_texts(self.index, docids)
            found = texts[rows]
        return inp.assign(text=pd.Series(found, inp.index, dtype=object))  # pandas' strings cannot hold half of a pair


def stored_texts(index: XetrievalIndex, docids: np.ndarray) -> list[str]:
    """The texts of these documents, int64 ``[n]``, in this order; ValueError if the index is damaged."""
    try:
        return [unpack_text(packed) for packed in index.layout.records(TEXTS, docids)]
    except ValueError as error:
        raise ValueError(f"{index!r} is damaged: {error}; index.verify() says where") from None
