"""What every collection of this package offers beyond a PyTerrier dataset: a name and excluded documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyterrier as pt

from ..documents import as_texts
from ..stages.base import RowWiseStage


class Collection(pt.datasets.Dataset):
    """A PyTerrier dataset with documents that must not be retrieved for a query.

    Attributes:
        name: of the collection, for tables and files.
    """

    name: str

    def get_excluded(self) -> pd.DataFrame:
        """The documents that must not be retrieved for a query: columns ``qid`` and ``docno`` (both strings).

        They are taken out of a ranking before it is measured. Empty where a collection has none.
        """
        return excluded_frame([])

    def text_loader(self, fields: str | list[str] = "text", *, verbose: bool = False) -> TextLoader:
        """Adds texts to a ranking: :class:`TextLoader`; ``pt.text.get_text(dataset, "text")`` calls it."""
        return TextLoader(self, fields, verbose=verbose)

    def _no_variant(self, variant: str | None) -> None:
        if variant is not None:
            raise ValueError(f"{self.name} has no variants, got {variant!r}")


class TextLoader(RowWiseStage):
    """Adds fields of the documents by ``docno``. Each call reads the corpus once, and keeps the documents asked for.

    Args:
        dataset: the collection.
        fields: names of fields, or one name; ``"*"`` is ``text``, the only field in the collections of this package.
        verbose: show progress.

    Raises:
        ValueError: a docno that the collection does not have, or a field.

    Example::

        dense >> pydocs().text_loader()
    """

    def __init__(self, dataset: Collection, fields: str | list[str] = "text", *, verbose: bool = False):
        self.dataset, self.verbose = dataset, verbose
        self.fields = ("text",) if fields == "*" else (fields,) if isinstance(fields, str) else tuple(fields)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.columns(inp, includes=["docno"], context=self)
        docnos = as_texts(inp["docno"].tolist(), stage=self)
        wanted = set(docnos)
        found: dict[str, dict[str, Any]] = {}
        for document in self.dataset.get_corpus_iter(verbose=self.verbose) if wanted else ():
            if document["docno"] in wanted:
                if unknown := [name for name in self.fields if name not in document]:
                    raise ValueError(f"{self!r} expects fields among {sorted(document)}, found {unknown[0]!r}")
                found[document["docno"]] = document
        if missing := [docno for docno in docnos if docno not in found]:
            raise ValueError(f"{self!r} has no document {missing[0]!r}")
        texts = {name: [found[docno][name] for docno in docnos] for name in self.fields}
        return inp.assign(**{name: pd.Series(values, index=inp.index, dtype="str") for name, values in texts.items()})


def excluded_frame(pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """A frame of ``qid`` and ``docno`` from pairs of strings, each pair once.

    >>> excluded_frame([("q1", "d1"), ("q1", "d1")])
      qid docno
    0  q1    d1
    """
    return pd.DataFrame(list(dict.fromkeys(pairs)), columns=["qid", "docno"], dtype=str)


def excluded_of(dataset: pt.datasets.Dataset) -> pd.DataFrame:
    """``dataset.get_excluded()``, empty for a PyTerrier dataset that knows of no such thing."""
    return dataset.get_excluded() if hasattr(dataset, "get_excluded") else excluded_frame([])


def name_of(dataset: pt.datasets.Dataset) -> str:
    """The collection's name, or the representation of a PyTerrier dataset that has none."""
    return getattr(dataset, "name", None) or repr(dataset)
