"""The collections that the results page is measured on: folders with vectors, and ``pydocs``."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.evaluation import EmbeddedCollection, embed, read_embedded

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

PYDOCS = "pydocs"


class Sources:
    """Collections by name: folders with vectors, and ``pydocs``; the one opened last is kept."""

    def __init__(self, data: Path | None, vectors: Path | None, cache: Path, own_id: Sequence[str], model: Xetrieval):
        self.data, self.vectors, self.cache, self.own_id, self.model = data, vectors, cache, set(own_id), model
        self._open: tuple[str, EmbeddedCollection] | None = None

    def names(self) -> list[str]:
        """Every folder with documents, queries, judgements and vectors, by name, and ``pydocs``."""
        folders = sorted(self.data.iterdir()) if self.data else []
        complete = [f.name for f in folders if (f / "qrels.tsv").is_file() and (self.vectors / f"{f.name}.q.f16.npy").is_file()]
        return [*complete, PYDOCS]

    def open(self, name: str) -> EmbeddedCollection:
        if self._open is None or self._open[0] != name:
            if name == PYDOCS:
                collection = embed(pydocs(), self.encoder, cache=self.cache, verbose=True)
            elif self.data is None:
                raise ValueError(f"measure expects --data and --vectors for the collection {name!r}, found neither")
            else:
                collection = read_embedded(self.data, name, vectors=self.vectors, exclude_own_id=name in self.own_id)
            self._open = name, collection
        return self._open[1]

    def reasoning(self, name: str) -> Path | None:
        """The file of texts that a language model wrote about every document, if the collection has one."""
        path = self.data / name / "reasoning.jsonl.gz" if self.data and name != PYDOCS else None
        return path if path and path.is_file() else None

    @cached_property
    def encoder(self) -> BiEncoder:
        return self.model.encoder()


def explicit_views(path: Path, docnos: np.ndarray, aspects: Sequence[str], encoder: BiEncoder) -> dict[str, np.ndarray]:
    """Aspect to float32 ``[n, m]``: vectors of the texts in ``path``, of aspects with a text for every document."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    found = {aspect: {str(row["_id"]): row["text"] for row in rows if row["aspect"] == aspect} for aspect in aspects}
    whole = {aspect: texts for aspect, texts in found.items() if set(docnos.tolist()) <= set(texts)}
    return {a: np.asarray(encoder.encode_docs([texts[d] for d in docnos.tolist()]), np.float32) for a, texts in whole.items()}


def digest(collection: EmbeddedCollection) -> str:
    """Of vectors, judgements and exclusions; texts have their vectors."""
    found = hashlib.sha256()
    for array in (collection.docs, collection.queries, *collection.excluded):
        found.update(np.ascontiguousarray(array).tobytes())
    found.update(json.dumps([sorted(grades.items()) for grades in collection.judged]).encode())
    return found.hexdigest()[:16]
