"""The collections that the results page is measured on: folders with vectors, and ``pydocs``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pandas as pd
import pyterrier as pt

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.evaluation import EmbeddedCollection, embed, read_embedded
from recipes.command import FOLDER, NEW_FOLDER
from recipes.data import written_texts

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

PYDOCS = "pydocs"


class Sources:
    """Collections by name: folders with vectors, and ``pydocs``; the one opened last is kept.

    :func:`on_sources` gives a command all arguments but the model, whose encoder the vectors are of.
    """

    def __init__(
        self,
        data: Path | None,
        vectors: Path | None,
        names: Sequence[str],
        own_id: Sequence[str],
        cache: Path | None,
        model: Xetrieval,
    ):
        self.data, self.vectors, self.own_id, self.model = data, vectors, own_id, model
        self.cache = cache or Path(pt.io.pyterrier_home()) / "xetrieval" / "vectors"
        self._names, self._open = names, None

    @property
    def told(self) -> str:
        """The options as given, for the command that repeats it; but for folders, which are the reader's own."""
        return "".join([" --data DIR --vectors DIR" if self.data else "", *(f" --exclude-own-id {name}" for name in self.own_id)])

    def names(self) -> list[str]:
        """Those asked for; else every folder with documents, queries, judgements and vectors, by name, and ``pydocs``."""
        if self._names:
            return list(self._names)
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


def on_sources(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say which collections; the command gets ``opened``, a function from a model to :class:`Sources`."""

    @click.option("--data", type=FOLDER, help="Folder of BEIR-style collections.")
    @click.option("--vectors", type=FOLDER, help="Their NAME.f16.npy, NAME.q.f16.npy.")
    @click.option("--collections", multiple=True, help="Only this one; may be repeated.  [default: all in --data, and pydocs]")
    @click.option(
        "--exclude-own-id", multiple=True, help="A collection whose queries are documents: never retrieve a query's own id."
    )
    @click.option("--cache", type=NEW_FOLDER, help="Vectors of pydocs.  [default: in PyTerrier's home folder]")
    @wraps(function)
    def command(*, data, vectors, collections, exclude_own_id, cache, **options) -> None:
        if (data is None) != (vectors is None):
            raise click.UsageError("--data and --vectors go together")
        function(opened=partial(Sources, data, vectors, collections, exclude_own_id, cache), **options)

    return command


def explicit_views(path: Path, docnos: np.ndarray, aspects: Sequence[str], encoder: BiEncoder) -> dict[str, np.ndarray]:
    """Aspect to float32 ``[n, m]``: vectors of the texts in ``path``, of aspects with a text for every document."""
    found = written_texts(path)
    whole = {a: found[a] for a in aspects if a in found and set(docnos.tolist()) <= set(found[a])}
    return {a: np.asarray(encoder.encode_docs([texts[d] for d in docnos.tolist()]), np.float32) for a, texts in whole.items()}


def qrels_of(collection: EmbeddedCollection) -> pd.DataFrame:
    """The judgements as a frame: ``qid``, ``docno``, ``label``."""
    told = [
        (str(qid), str(collection.docnos[row]), grade)
        for qid, own in zip(collection.qids, collection.judged) for row, grade in own.items()
    ]  # fmt: skip
    return pd.DataFrame(told, columns=["qid", "docno", "label"])


def digest(collection: EmbeddedCollection) -> str:
    """Of vectors, judgements and exclusions; texts have their vectors."""
    found = hashlib.sha256()
    for array in (collection.docs, collection.queries, *collection.excluded):
        found.update(np.ascontiguousarray(array).tobytes())
    found.update(json.dumps([sorted(grades.items()) for grades in collection.judged]).encode())
    return found.hexdigest()[:16]
