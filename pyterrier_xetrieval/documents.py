"""What is read of documents, queries and docnos, wherever they come from: their text, or an error that names them."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any, Literal

import numpy as np
import pandas as pd

from .core.checks import is_missing
from .store.surrogates import repaired

Missing = Literal["error", "drop"]


def plain_text(value: object) -> str:
    """An id or a title as text, whatever it was written as: ``7`` and ``7.0`` are ``"7"``; pandas makes the latter of it.

    >>> plain_text("d7"), plain_text(7), plain_text(np.float64(7)), plain_text(7.5)
    ('d7', '7', '7', '7.5')
    """
    if isinstance(value, str):
        return value
    return str(int(value) if isinstance(value, (float, np.floating)) and value.is_integer() else value)


def id_text(value: object, name: str, *, where: object) -> str:
    """An id as text; what is neither a text nor a number is none, as its ``str`` is no name that anybody gave.

    Args:
        name: what the id is called; where: who asks, or the place in a file; both named in the error.

    Raises:
        ValueError: bytes, a list, a date, …

    >>> id_text(b"d7", "docno", where="Teacher")
    Traceback (most recent call last):
    ValueError: Teacher expects a text or a number as docno, found bytes b'd7'; write it as a text
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, Number):
        found = f"{type(value).__name__} {repr(value)[:60]}"
        raise ValueError(f"{where} expects a text or a number as {name}, found {found}; write it as a text")
    return plain_text(value)


def docno_of(document: Mapping[str, Any], *, where: object) -> str | None:
    """The ``docno`` of a document, or its ``_id``, as text; None if both are missing, ValueError for what is no id.

    >>> docno_of({"_id": 7}, where="demo"), docno_of({"docno": None}, where="demo")
    ('7', None)
    """
    for name in ("docno", "_id"):
        if not is_missing(document.get(name)):
            return id_text(document[name], name, where=where)
    return None


def text_of(document: Mapping[str, Any]) -> str | None:
    """Title and text of a document, separated by a space; None if it has no text.

    A title that is missing, as None, as NaN or altogether, leaves no trace. What is no string is no text.

    >>> text_of({"title": "Cats", "text": "purr"}), text_of({"title": float("nan"), "text": "purr"})
    ('Cats purr', 'purr')
    >>> text_of({"title": "Cats", "text": None})
    """
    text, title = document.get("text"), document.get("title")
    if not isinstance(text, str):
        return None
    return repaired(f"{'' if is_missing(title) else plain_text(title)} {text}".strip())


def documents_in(corpus: Iterable[Mapping[str, Any]] | pd.DataFrame, *, stage: object) -> Iterator[dict[str, Any]]:
    """The documents of a corpus as dicts: the rows of a data frame, or what an iterable holds.

    Raises:
        ValueError: something that is no dict; the message names ``stage``.

    Example::

        >>> list(documents_in(pd.DataFrame({"docno": ["d1"], "text": ["tea"]}), stage="demo"))
        [{'docno': 'd1', 'text': 'tea'}]
    """
    if not isinstance(corpus, (pd.DataFrame, Iterable)) or isinstance(corpus, (str, bytes)):
        raise ValueError(f"{stage} expects an iterable of documents as dicts, found {type(corpus).__name__}")
    for n, document in enumerate(corpus.to_dict("records") if isinstance(corpus, pd.DataFrame) else corpus):
        if not isinstance(document, Mapping):
            found = f"{type(document).__name__} {str(document)[:60]!r} as document {n}"
            raise ValueError(f"{stage} expects documents as dicts or the rows of a data frame, found {found}")
        yield dict(document)


def no_text(stage: object, what: str, value: object, *, field: str = "text", cure: str = "") -> ValueError:
    """The error for a document or a query without a text.

    >>> no_text("MiniLM()", "document 'a'", None)
    ValueError("MiniLM() found no text in document 'a': its text is None; give it one")
    """
    return ValueError(f"{stage} found no text in {what}: its {field} is {repr(value)[:60]}; {cure or 'give it one'}")


class TextCheck:
    """Looks whether documents have texts, and refuses or counts those that have none.

    Args:
        missing: ``"error"`` or ``"drop"``.
        stage: who asks; named in messages.

    Raises:
        ValueError: another ``missing``.

    Example::

        check = TextCheck("drop", stage="indexer")
        kept = [d for d in documents if check.keeps(d["text"], f"document {d['docno']!r}")]
        check.tell()                    # a warning: indexer dropped 2 of 80 documents without a text, the first is …
    """

    def __init__(self, missing: Missing, *, stage: object):
        self.missing, self.stage = checked_missing(missing, stage=stage), stage
        self.looked = self.dropped = 0
        self.first = ""

    def keeps(self, text: object, what: str, *, field: str = "text") -> bool:
        """Whether this is a text; ValueError for anything else, unless it is to be dropped."""
        self.looked += 1
        if isinstance(text, str):
            return True
        if self.missing == "error":
            raise no_text(self.stage, what, text, field=field, cure="give it one, or leave such documents out (missing='drop')")
        self.first = self.first or what
        self.dropped += 1
        return False

    def tell(self) -> None:
        """Warns how many were dropped, if any were."""
        if self.dropped:
            told = f"dropped {self.dropped} of {self.looked} documents without a text, the first is {self.first}"
            warnings.warn(f"{self.stage} {told}", stacklevel=3)


def each_once(frame: pd.DataFrame, columns: Iterable[object], *, stage: object) -> None:
    """ValueError for one of these columns that a frame has twice: pandas gives a frame where one column is meant.

    ``stage`` is named in the error and no sooner: the name of a stage takes longer to write than the check.

    >>> each_once(pd.DataFrame([[1, 2]], columns=["docno", "docno"]), ["docno"], stage="VectorLoader()")
    Traceback (most recent call last):
    ValueError: VectorLoader() expects one column 'docno', found 2 of them; rename or drop the others
    """
    if frame.columns.is_unique:
        return
    names = frame.columns.tolist()
    for column in columns:
        if (found := names.count(column)) > 1:
            raise ValueError(f"{stage} expects one column {column!r}, found {found} of them; rename or drop the others")


def checked_missing(missing: Missing, *, stage: object) -> Missing:
    """``missing``; ValueError unless it is ``"error"`` or ``"drop"``."""
    if missing not in ("error", "drop"):
        raise ValueError(f"{stage} expects missing to be 'error' or 'drop', found {missing!r}")
    return missing


def as_texts(docnos: Sequence[object], *, stage: object) -> list[str]:
    """Docnos as an index knows them, texts or numbers; ValueError for a missing one and for what is no id, naming ``stage``."""
    for row, docno in enumerate(docnos):
        if not isinstance(docno, str) and is_missing(docno):
            raise ValueError(f"{stage!r} found a missing docno in row {row}")
    return [docno if isinstance(docno, str) else id_text(docno, "docno", where=stage) for docno in docnos]


def query_texts(frame: pd.DataFrame, *, stage: object) -> list[str]:
    """The text of each row's query; a row without one takes that of the other rows of its query.

    Joined rankings (``bm25 + dense``) have none in the rows that only one of them found. Halves of characters are replaced.

    Raises:
        ValueError: a query without a text, or with several; the message names ``stage``.
    """
    texts = frame["query"].tolist()
    if "qid" in frame.columns and any(map(is_missing, texts)):
        texts = filled(frame["qid"].tolist(), texts, "query", stage=stage)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            what = f"query {frame['qid'].iloc[row]!r}" if "qid" in frame.columns else f"the query of row {row}"
            raise no_text(stage, what, text, field="query")
    return list(map(repaired, texts))


def document_name(frame: pd.DataFrame, row: int) -> str:
    """How messages call the document of a row: by its docno if the frame has one."""
    return f"document {frame['docno'].iloc[row]!r}" if "docno" in frame.columns else f"row {row}"


def filled(qids: list, cells: list, column: str, *, stage: object) -> list:
    """The cells of a column that belongs to the query, those that are missing filled from other rows of their query.

    Rows without a qid are of no query that is known, and so not of the same one: nothing is filled from them or in them.
    """
    known: dict = {}
    check_ids(qids, "qid", stage=stage)
    for row, (qid, cell) in enumerate(zip(qids, cells)):
        if not is_missing(qid) and not is_missing(cell) and not _same(known.setdefault(qid, cell), cell):
            raise ValueError(f"{stage!r} found rows of query {qid!r} without {column}, and another one in row {row} than before")
    return [known.get(qid, cell) if is_missing(cell) and not is_missing(qid) else cell for qid, cell in zip(qids, cells)]


def check_ids(ids: Iterable[object], column: str, *, stage: object) -> None:
    """ValueError for an id that is a list, a dict or something else that cannot be looked up; a missing one is not looked at.

    >>> check_ids(["1", 2], "qid", stage="demo")
    """
    for row, value in enumerate(ids):
        if not isinstance(value, Hashable):
            raise ValueError(f"{stage!r} expects a text or a number as {column}, found {type(value).__name__} in row {row}")


def _same(a: Any, b: Any) -> bool:
    """Whether two cells hold the same; numpy reads no tensor that has a gradient or is of bfloat16."""
    if hasattr(a, "detach") and type(a) is type(b):  # torch is not loaded for this alone
        return a.equal(b)
    return a is b or np.array_equal(a, b)
