"""A small test collection that every Python installation already carries: its own documentation.

:class:`PyDocs` takes its documents from the running interpreter (:mod:`.docstrings`), and ships hand-written how-do-I
questions with graded judgements for them. Nothing is downloaded.
"""

from __future__ import annotations

import csv
import functools
import hashlib
from collections.abc import Iterator
from importlib import resources

import pandas as pd
import pyterrier as pt

from .base import Collection
from .docstrings import documents


def _read_tsv(name: str) -> pd.DataFrame:
    text = resources.files("pyterrier_xetrieval").joinpath("data", name).read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines(), delimiter="\t")
    return pd.DataFrame(rows, columns=header, dtype=str)


def _shipped() -> tuple[pd.DataFrame, pd.DataFrame]:
    """All queries and judgements in the package, whether or not this Python has the judged documents."""
    qrels = _read_tsv("pydocs_qrels.tsv").rename(columns={"relevance": "label"})
    return _read_tsv("pydocs_queries.tsv"), qrels.astype({"label": int})


@functools.cache
def _topics_qrels() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Queries and judgements that hold for the running Python: names move between versions and platforms."""
    topics, qrels = _shipped()
    docnos = {docno for docno, _ in documents()}
    qrels = qrels[qrels["docno"].isin(docnos)].reset_index(drop=True)
    answered = qrels.loc[qrels["label"] > 0, "qid"]
    topics = topics[topics["qid"].isin(answered)].reset_index(drop=True)
    qrels = qrels[qrels["qid"].isin(topics["qid"])].reset_index(drop=True)
    return topics, qrels


class PyDocs(Collection):
    """The documentation of the running Python as a test collection.

    About 2,400 short English documents (a name, parameter names and the docstring, cut to 180 words), close to 200
    questions in a newcomer's words and graded judgements for them. The documents depend on the Python version and
    platform (and a notebook replaces ``input``, Ray ``inspect.isgenerator``, which are then missing); judgements of
    missing documents are left out. Compare :attr:`fingerprint` before comparing scores or reusing stored vectors.

    Example::

        >>> dataset = pydocs()
        >>> next(dataset.get_corpus_iter())['docno']
        'BaseException'
        >>> list(dataset.get_topics().columns)
        ['qid', 'query']
    """

    name = "pydocs"

    def get_corpus_iter(self, *, verbose: bool = False) -> Iterator[dict[str, str]]:
        """Yields ``{'docno': ..., 'text': ...}`` (both str), sorted by docno; ``verbose`` adds a progress bar."""
        for docno, text in pt.tqdm(documents(), desc="pydocs documents", disable=not verbose):
            yield {"docno": docno, "text": text}

    def get_topics(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the questions: columns ``qid`` and ``query`` (both strings). There are no variants."""
        self._no_variant(variant)
        return _topics_qrels()[0].copy()

    def get_qrels(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the judgements: columns ``qid``, ``docno`` (strings) and ``label`` (int). There are no variants.

        A label of 2 means that the document answers the question directly, 1 that it helps or answers in part.
        What is not listed counts as not relevant.
        """
        self._no_variant(variant)
        return _topics_qrels()[1].copy()

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over all docnos and texts in order: equal for equal corpora."""
        digest = hashlib.sha256()
        for docno, text in documents():
            digest.update(f"{docno}\t{text}\n".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        """The number of documents."""
        return len(documents())

    def __repr__(self) -> str:
        return "PyDocs()"


def pydocs() -> PyDocs:
    """The documentation of the running Python as a test collection, with 194 questions: :class:`PyDocs`.

    Example:
        >>> pydocs().get_topics()["query"][0]
        'how do I make a shuffled copy of a list'
    """
    return PyDocs()
