"""Test collections in BEIR-style folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt

from ..core.checks import is_missing
from ..documents import Missing, TextCheck, docno_of, plain_text, text_of
from ..store.jsonl import records
from .base import Collection, excluded_frame
from .qrels_file import read_qrels

NO_IDS = {"N/A"}  # how BRIGHT writes an empty list of excluded documents


class BeirFolder(Collection):
    """A BEIR-style folder; see :func:`beir_folder`."""

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None, exclude_own_id: bool = False):
        self.path = Path(path).expanduser().absolute()
        if not self.path.is_dir():
            raise FileNotFoundError(f"beir_folder expects a folder, found none at {self.path}")
        self.name = name or self.path.name
        self.exclude_own_id = exclude_own_id

    def get_corpus_iter(self, *, verbose: bool = False, missing: Missing = "error") -> Iterator[dict[str, str]]:
        """Yields ``{'docno': ..., 'text': ...}`` in file order; the text is title and text, separated by a space.

        A document without a text is an error, or is left out with ``missing="drop"``; a warning then says how many were.
        """
        check = TextCheck(missing, stage=repr(self))
        rows = json_documents(self._file("corpus.jsonl", "corpus.jsonl.gz"), check)
        return iter(pt.tqdm(rows, desc=f"{self.name} documents", disable=not verbose))

    def get_topics(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the queries in file order: columns ``qid`` and ``query`` (both strings)."""
        self._no_variant(variant)
        return pd.DataFrame([(qid, row["text"]) for _, qid, row in self._queries()], columns=["qid", "query"], dtype=str)

    def get_qrels(self, variant: str | None = None) -> pd.DataFrame:
        """Returns the judgements: columns ``qid``, ``docno`` (strings) and ``label`` (int); above 0 is relevant.

        ``variant``: a split, ``"dev"`` for ``qrels/dev.tsv``; None for ``qrels.tsv`` or ``qrels/test.tsv``.
        """
        path = self._file("qrels.tsv", "qrels/test.tsv") if variant is None else self._file(f"qrels/{variant}.tsv")
        return read_qrels(path)

    def get_excluded(self) -> pd.DataFrame:
        """Documents not to be retrieved for a query (``qid``, ``docno``): ``excluded_ids``, its own id if asked for."""
        pairs: list[tuple[str, str]] = []
        for where, qid, row in self._queries():
            ids = _excluded(row)
            if not isinstance(ids, list) or any(is_missing(docno) or isinstance(docno, (list, dict)) for docno in ids):
                raise ValueError(f"{where} expects excluded_ids to be a list of document ids, found {str(ids)[:80]}")
            pairs += [(qid, plain_text(docno)) for docno in ids if docno not in NO_IDS]
            pairs += [(qid, qid)] if self.exclude_own_id else []
        return excluded_frame(pairs)

    def _queries(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for where, row in records(self._file("queries.jsonl", "queries.jsonl.gz")):
            qid = docno_of(row, where=where)
            if qid is None:
                raise ValueError(f"{where} expects _id and text, found {str(row)[:80]}")
            TextCheck("error", stage=repr(self)).keeps(row.get("text"), f"query {qid!r}, {where}")
            yield where, qid, row

    def _file(self, *names: str) -> Path:
        for name in names:
            if (self.path / name).is_file():
                return self.path / name
        raise FileNotFoundError(f"{self!r} has no {' or '.join(names)} in {self.path}")

    def __repr__(self) -> str:
        return f"beir_folder({str(self.path)!r})"


def _excluded(row: dict[str, Any]) -> Any:
    metadata = row.get("metadata")
    return row.get("excluded_ids") or (metadata.get("excluded_ids") if isinstance(metadata, dict) else None) or []


def json_documents(path: Path, check: TextCheck) -> Iterator[dict[str, str]]:
    """The documents ``{docno, text}`` of a JSON-lines file {docno or _id, text, title?}.

    Args:
        check: what becomes of a document without a text.

    Raises:
        ValueError: a line that is no such object; it is named.
    """
    for where, row in records(path):
        docno, text = docno_of(row, where=where), text_of(row)
        if docno is None:
            raise ValueError(f"{where} expects docno (or _id) and text, found {str(row)[:80]}")
        if check.keeps(row.get("text"), f"document {docno!r}, {where}"):
            yield {"docno": docno, "text": str(text)}
    check.tell()


def beir_folder(path: str | os.PathLike[str], *, name: str | None = None, exclude_own_id: bool = False) -> BeirFolder:
    """A test collection in a BEIR-style folder.

    The folder holds ``corpus.jsonl`` ({_id, title, text}; the title may be missing), ``queries.jsonl`` ({_id, text},
    and BRIGHT's ``excluded_ids``, a list of document ids, there or in ``metadata``), both also as ``.gz``, and the
    judgements ``qrels.tsv`` or ``qrels/test.tsv`` (header query-id, corpus-id, score, or one of the other forms that
    :func:`~.qrels_file.read_qrels` takes; other splits: ``get_qrels("dev")``).
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
