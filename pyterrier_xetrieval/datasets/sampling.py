"""Smaller collections from large ones, as the paper makes them (Cai et al. 2026, Table 4), and several as one."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..documents import id_text
from .base import Collection, excluded_frame, excluded_of, name_of

Datasets: TypeAlias = Sequence[pt.datasets.Dataset] | Mapping[str, pt.datasets.Dataset]


class SampledCollection(Collection):
    """All relevant documents of a collection and random others; see :func:`sample`."""

    def __init__(self, dataset: pt.datasets.Dataset, *, documents: int = 10_000, seed: int = 0):
        self.dataset, self.documents, self.seed = dataset, positive_int(documents, "documents", stage="sample"), seed
        self.name = name_of(dataset)

    @cached_property
    def docnos(self) -> frozenset[str]:
        """The docnos of the sampled documents. The first use reads the whole corpus once, and keeps docnos only."""
        qrels = self._judgements()
        gold = set(qrels.loc[qrels["label"] > 0, "docno"])
        # the others with the smallest hashes: independent of the corpus' order, different for each collection
        key = hashlib.blake2b(f"{self.seed}/{self.name}".encode()).digest()
        found: set[str] = set()

        def others() -> Iterator[tuple[bytes, str]]:
            for document in self.dataset.get_corpus_iter(verbose=False):
                docno = _docno(document, self)
                if docno in gold:
                    found.add(docno)
                else:
                    yield hashlib.blake2b(docno.encode(), digest_size=16, key=key).digest(), docno

        chosen = heapq.nsmallest(self.documents, others())
        return frozenset(found.union(docno for _, docno in chosen[: max(0, self.documents - len(found))]))

    def get_corpus_iter(self, *, verbose: bool = False) -> Iterator[dict[str, Any]]:
        """Yields the sampled documents as the collection has them, in its order."""
        docnos = self.docnos
        for document in self.dataset.get_corpus_iter(verbose=verbose):
            if _docno(document, self) in docnos:
                yield document

    def get_topics(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the queries with a relevant document in the sample."""
        self._no_variant(variant)
        topics, qrels = self.dataset.get_topics(), self.get_qrels()
        answered = topics["qid"].astype(str).isin(qrels.loc[qrels["label"] > 0, "qid"])
        return topics[answered].reset_index(drop=True)

    def _judgements(self) -> pd.DataFrame:
        return self.dataset.get_qrels().astype({"qid": str, "docno": str})  # ids that are numbers too

    def get_qrels(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the judgements of documents in the sample: columns ``qid``, ``docno`` and ``label``."""
        self._no_variant(variant)
        qrels = self._judgements()
        return qrels[qrels["docno"].isin(self.docnos)].reset_index(drop=True)

    def get_excluded(self) -> pd.DataFrame:
        """All excluded documents of the collection, in the sample or not."""
        return excluded_of(self.dataset)

    def __repr__(self) -> str:
        return f"sample({self.dataset!r}, documents={self.documents}, seed={self.seed})"


class PooledCollection(Collection):
    """Several collections as one; see :func:`pool`."""

    def __init__(self, datasets: Datasets, *, name: str):
        self.name, self.prefixed = name, isinstance(datasets, Mapping)
        named = datasets.items() if isinstance(datasets, Mapping) else [(None, dataset) for dataset in datasets]
        self._parts = [("" if key is None else f"{key}/", dataset) for key, dataset in named]
        if not self._parts:
            raise ValueError("pool expects at least one dataset, found none")

    def get_corpus_iter(self, *, verbose: bool = False) -> Iterator[dict[str, Any]]:
        """Yields the documents of one collection after the other."""
        _ = self._docnos  # finds docnos that clash before the first document is yielded
        for prefix, dataset in self._parts:
            for document in dataset.get_corpus_iter(verbose=verbose):
                yield {**document, "docno": prefix + _docno(document, dataset)}

    def get_topics(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the queries of all collections."""
        self._no_variant(variant)
        topics = self._joined([dataset.get_topics() for _, dataset in self._parts], ["qid"])
        _no_clash(topics["qid"], "qids")
        return topics

    def get_qrels(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the judgements of all collections; a query has none for the documents of the others."""
        self._no_variant(variant)
        return self._joined([dataset.get_qrels() for _, dataset in self._parts], ["qid", "docno"])

    def get_excluded(self) -> pd.DataFrame:
        """The excluded documents of all collections, each under every prefix that has a document of its docno."""
        pairs: list[tuple[str, str]] = []
        for prefix, dataset in self._parts:
            excluded = excluded_of(dataset)
            pairs += zip(prefix + excluded["qid"], prefix + excluded["docno"])
            for other, docnos in self._docnos if self.prefixed and len(excluded) else ():
                elsewhere = excluded[excluded["docno"].isin(docnos)] if other != prefix else excluded[:0]
                pairs += zip(prefix + elsewhere["qid"], other + elsewhere["docno"])
        return excluded_frame(pairs)

    @cached_property
    def _docnos(self) -> list[tuple[str, set[str]]]:
        docnos = [(prefix, _docnos_of(dataset)) for prefix, dataset in self._parts]
        _no_clash(pd.Series([prefix + docno for prefix, part in docnos for docno in part], dtype=str), "docnos")
        return [(prefix, set(part)) for prefix, part in docnos]

    def _joined(self, frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
        named = [frame.assign(**{c: p + frame[c] for c in columns}) for (p, _), frame in zip(self._parts, frames)]
        return pd.concat(named, ignore_index=True)

    def __repr__(self) -> str:
        parts = {p.removesuffix("/"): d for p, d in self._parts} if self.prefixed else [d for _, d in self._parts]
        return f"pool({parts!r}, name={self.name!r})"


def _docnos_of(dataset: pt.datasets.Dataset) -> Sequence[str]:
    if isinstance(dataset, SampledCollection):
        return sorted(dataset.docnos)
    return [_docno(document, dataset) for document in dataset.get_corpus_iter(verbose=False)]


def _docno(document: Mapping[str, Any], dataset: object) -> str:
    return id_text(document["docno"], "docno", where=dataset)


def _no_clash(names: pd.Series, what: str) -> None:
    twice = names[names.duplicated()]
    if len(twice):
        raise ValueError(
            f"pool expects {what} that occur once, found {len(twice)} more than once, the first is {twice.iloc[0]!r}; "
            "give the datasets as a dict, whose keys become prefixes"
        )


def sample(dataset: pt.datasets.Dataset, *, documents: int = 10_000, seed: int = 0) -> SampledCollection:
    """The paper's smaller collection: all relevant documents, filled up with random others.

    The first use reads the corpus once for its docnos; each pass over the sample reads it again and skips the rest. No
    texts are held in memory. The choice depends on the seed, the collection's name and the docnos alone. Queries
    without a relevant document in the corpus are left out; excluded documents stay excluded.

    Args:
        dataset: any PyTerrier dataset with corpus, topics and qrels (label above 0 is relevant).
        documents: how many in all; if there are more relevant ones, these are the sample.
        seed: of the choice.

    Example::

        robust = sample(benchmark("robust04"))
        bright = pool({d: sample(benchmark(f"bright/{d}"), documents=1_000) for d in BRIGHT_DOMAINS}, name="bright")
    """
    return SampledCollection(dataset, documents=documents, seed=seed)


def pool(datasets: Datasets, *, name: str = "pool") -> PooledCollection:
    """Several collections as one: documents, queries, judgements and excluded documents together.

    Given a dict, every qid and docno is prefixed by its key, ``biology/12``: the domains of BRIGHT number their
    queries alike, and two of them (AoPS, TheoremQA questions) share their documents. Given a list, qids and
    docnos stay as they are and must not clash. Documents of one docno in two prefixed collections are taken for the
    same text: what a query excludes is excluded in both, and only the one of its own collection counts as relevant.

    Args:
        datasets: PyTerrier datasets, or a dict of prefixes and datasets.
        name: of the whole.

    Raises:
        ValueError: (when read) a qid or docno that occurs twice.

    Example:
        >>> from pyterrier_xetrieval import pydocs
        >>> next(pool({"python": pydocs()}).get_corpus_iter())["docno"]
        'python/BaseException'
    """
    return PooledCollection(datasets, name=name)
