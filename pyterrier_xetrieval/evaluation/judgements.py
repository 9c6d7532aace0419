"""Judgements and excluded documents by row of a collection."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Answerable(NamedTuple):
    """The queries of a collection that have a relevant document there, and what is known of them.

    Attributes:
        rows: int64 ``[q]``, their rows in the topics; qids, texts: str ``[q]``.
        judged, excluded: as in :class:`.collection.EmbeddedCollection`; excluded documents are not judged.
    """

    rows: np.ndarray
    qids: np.ndarray
    texts: np.ndarray
    judged: list[dict[int, int]]
    excluded: list[np.ndarray]


def answerable(name: str, docnos: np.ndarray, topics: pd.DataFrame, qrels: pd.DataFrame, excluded: pd.DataFrame) -> Answerable:
    """The queries with a document of label above 0 among ``docnos``, in order.

    Args:
        name: of the collection, for errors.
        docnos: str ``[n]``, each once.
        topics: ``qid`` and ``query``; qrels: ``qid``, ``docno`` and ``label``; excluded: ``qid`` and ``docno``. Ids are
            compared as strings.

    Raises:
        ValueError: no frame, or a column missing; a label that is no whole number; a qid twice; no such query.
    """
    topics = _checked(topics, ["qid", "query"], f"topics of {name}")
    qrels = _checked(qrels, ["qid", "docno", "label"], f"qrels of {name}")
    excluded = _checked(excluded, ["qid", "docno"], f"excluded documents of {name}")
    if topics["qid"].duplicated().any():
        raise ValueError(f"{name} holds the query {topics.loc[topics['qid'].duplicated(), 'qid'].iloc[0]!r} more than once")
    topics = topics.reset_index(drop=True)
    row_of = pd.Series(np.arange(len(docnos)), index=docnos)
    rows_out = _in_corpus(excluded, row_of).groupby("qid")["row"].agg(np.unique).to_dict()
    graded = _in_corpus(qrels, row_of).groupby(["qid", "row"], as_index=False)["label"].max()
    judged: dict[str, dict[int, int]] = {}
    for qid, rows in graded.groupby("qid"):
        # what must not be retrieved is no part of the best ranking either
        rows = rows[~rows["row"].isin(rows_out.get(qid, []))]
        judged[qid] = dict(zip(rows["row"].tolist(), rows["label"].tolist()))
    topics = topics[[any(grade > 0 for grade in judged.get(qid, {}).values()) for qid in topics["qid"]]]
    if not len(topics):
        raise ValueError(f"{name} has no query with a relevant document among its {len(docnos)} documents")
    qids, texts = (topics[column].to_numpy(np.str_) for column in ("qid", "query"))
    barred = [rows_out.get(qid, np.empty(0, np.int64)) for qid in topics["qid"]]
    return Answerable(topics.index.to_numpy(), qids, texts, [judged[qid] for qid in topics["qid"]], barred)


def _checked(frame: Any, columns: list[str], what: str) -> pd.DataFrame:
    """What a dataset gave, if it is a frame of these columns, with ids as strings and whole labels."""
    if not isinstance(frame, pd.DataFrame) or set(columns) - set(frame.columns):
        found = list(frame.columns) if isinstance(frame, pd.DataFrame) else type(frame).__name__
        raise ValueError(f"expected the {what} as a frame with columns {columns}, found {found}")
    frame = frame.assign(**{column: frame[column].astype(str) for column in ("qid", "docno") if column in columns})
    if "label" not in columns:
        return frame
    labels = pd.to_numeric(frame["label"], errors="coerce")
    if (labels.isna() | (labels % 1 != 0)).any():
        raise ValueError(f"expected whole numbers as labels in the {what}, found {frame['label'].tolist()[:6]}")
    return frame.assign(label=labels.astype(int))


def _in_corpus(frame: pd.DataFrame, row_of: pd.Series) -> pd.DataFrame:
    """The frame's rows whose document the corpus has, with its row (int64) as ``row``."""
    rows = row_of.index.get_indexer(frame["docno"])
    return frame.assign(row=rows.astype(np.int64))[rows >= 0]


def unique_names(docnos: list[str], name: str) -> np.ndarray:
    """The docnos as str ``[n]``; ValueError if one of them occurs twice."""
    names = pd.Index(docnos)
    if not names.is_unique:
        raise ValueError(f"{name} holds the document {names[names.duplicated()][0]!r} more than once")
    return np.array(docnos, np.str_)
