"""Test collections in BEIR-style folders."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt

from ..store.jsonl import records
from .base import Collection, excluded_frame

QRELS_HEADER = ["query-id", "corpus-id", "score"]
NO_IDS = {"N/A"}  # how BRIGHT writes an empty list of excluded documents


class BeirFolder(Collection):
    """A BEIR-style folder; see :func:`beir_folder`."""

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None, exclude_own_id: bool = False):
        self.path = Path(path).expanduser().absolute()
        if not self.path.is_dir():
            raise FileNotFoundError(f"beir_folder expects a folder, found none at {self.path}")
        self.name = name or self.path.name
        self.exclude_own_id = exclude_own_id

    def get_corpus_iter(self, *, verbose: bool = False) -> Iterator[dict[str, str]]:
        """Yields ``{'docno': ..., 'text': ...}`` in file order; the text is title and text, separated by a space."""
        rows = pt.tqdm(_rows(self._file("corpus.jsonl", "corpus.jsonl.gz")), desc=f"{self.name} documents", disable=not verbose)
        return ({"docno": str(row["_id"]), "text": f"{row.get('title') or ''} {row['text']}".strip()} for row in rows)

    def get_topics(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the queries in file order: columns ``qid`` and ``query`` (both strings)."""
        self._no_variant(variant)
        return pd.DataFrame([(str(row["_id"]), row["text"]) for row in self._queries()], columns=["qid", "query"], dtype=str)

    def get_qrels(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the judgements: columns ``qid``, ``docno`` (strings) and ``label`` (int); above 0 is relevant.

        ``variant``: a split, ``"dev"`` for ``qrels/dev.tsv``; None for ``qrels.tsv`` or ``qrels/test.tsv``.
        """
        path = self._file("qrels.tsv", "qrels/test.tsv") if variant is None else self._file(f"qrels/{variant}.tsv")
        rows = pd.read_csv(path, sep="\t", dtype=str, quoting=csv.QUOTE_NONE, keep_default_na=False, encoding="utf-8")
        if list(rows.columns) != QRELS_HEADER:
            raise ValueError(f"{path} expects the tab-separated header {QRELS_HEADER}, found {list(rows.columns)}")
        labels = pd.to_numeric(rows["score"], errors="coerce")  # 1.0 is a whole number too
        wrong = rows["score"][labels.isna() | (labels % 1 != 0)]
        if len(wrong):
            raise ValueError(f"{path} expects whole numbers in column score, found {wrong.iloc[0]!r}")
        return pd.DataFrame({"qid": rows["query-id"], "docno": rows["corpus-id"], "label": labels.astype(int)})

    def get_excluded(self) -> pd.DataFrame:
        """Documents not to be retrieved for a query (``qid``, ``docno``): ``excluded_ids``, its own id if asked for."""
        pairs: list[tuple[str, str]] = []
        for row in self._queries():
            ids = row.get("excluded_ids") or (row.get("metadata") or {}).get("excluded_ids") or []
            pairs += [(str(row["_id"]), str(docno)) for docno in ids if docno not in NO_IDS]
            pairs += [(str(row["_id"]), str(row["_id"]))] if self.exclude_own_id else []
        return excluded_frame(pairs)

    def _queries(self) -> Iterator[dict[str, Any]]:
        return _rows(self._file("queries.jsonl", "queries.jsonl.gz"))

    def _file(self, *names: str) -> Path:
        for name in names:
            if (self.path / name).is_file():
                return self.path / name
        raise FileNotFoundError(f"{self!r} has no {' or '.join(names)} in {self.path}")

    def __repr__(self) -> str:
        return f"beir_folder({str(self.path)!r})"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, each with ``_id`` and ``text``."""
    for where, row in records(path):
        if row.get("_id") is None or not isinstance(row.get("text"), str):
            raise ValueError(f"{where} expects _id and text, found {str(row)[:80]}")
        yield row


def beir_folder(path: str | os.PathLike[str], *, name: str | None = None, exclude_own_id: bool = False) -> BeirFolder:
    """A test collection in a BEIR-style folder.

    The folder holds ``corpus.jsonl`` ({_id, title, text}; the title may be missing), ``queries.jsonl`` ({_id, text},
    and BRIGHT's ``excluded_ids``, a list of document ids, there or in ``metadata``), both also as ``.gz``, and the
    judgements ``qrels.tsv`` or ``qrels/test.tsv`` (header query-id, corpus-id, score; other splits: ``get_qrels("dev")``).
    A missing file is an error only when its part is asked for.

    Args:
        path: the folder.
        name: of the collection; the folder's name unless said otherwise.
        exclude_own_id: ArguAna's rule: a query's own id must not be retrieved for it.

    Raises:
        FileNotFoundError: no such folder, or no file for the part asked for.
        ValueError: a line that is no JSON object with _id and text (names file and line), or judgements of another form.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "make tea", "excluded_ids": ["d7"]}')
        >>> dataset = beir_folder(folder)
        >>> dataset.get_topics()
          qid     query
        0  q1  make tea
        >>> dataset.get_excluded()
          qid docno
        0  q1    d7
    """
    return BeirFolder(path, name=name, exclude_own_id=exclude_own_id)
