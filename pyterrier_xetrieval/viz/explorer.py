"""The explorer: one HTML file in which results, their explanations and the features behind them can be looked through."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import positive_int
from ..core.codes import encode_view
from ..documents import query_texts
from ..explanation import explained_in
from ..index.docnos import docids_of
from ..model import Xetrieval
from ..store.files import replacing
from .explorer_data import page_data
from .explorer_sources import (
    chosen_documents,
    collection_of_index,
    documents_of_frame,
    documents_of_index,
    queries_of,
)
from .palette import PALETTE

if TYPE_CHECKING:
    from ..explanation import Explanation
    from ..index import XetrievalIndex

DEPTH = 100  # results of a query that are in a page, if there is place
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="app"><noscript>This page computes in the browser: it needs JavaScript, and no network.</noscript></div>
<script type="application/json" id="data">{data}</script>
<script>{program}</script>
</body>
</html>
"""


def to_html(
    results: pd.DataFrame, path: str | os.PathLike[str], *, model: Xetrieval | None = None, index: XetrievalIndex | None = None,
    about: Mapping[str, Any] | None = None, verbose: bool = False,
) -> Path:  # fmt: skip
    """Writes results as one HTML file that explains them in any browser, without a network or a server.

    The page ranks by the vectors' score, explains every pair of its queries and documents, marks the words, shows what each
    feature is about, compares, and turns features of the query up and down as :class:`~pyterrier_xetrieval.FeatureIntervention`
    does in modes ``"scale"`` and ``"add"``.

    Args:
        results: rows with ``qid``, ``query``, ``query_vec`` and ``docno``; without ``index`` also ``doc_vec`` and ``text``
            (and the views ``doc_vec_<aspect>``, which are computed if an explanation is of them and they are not there).
            A column ``explanation`` says which views are meant and which features are shown.
        path: the file; an older one is replaced when all is done.
        model: whose dictionary made the explanations; None for that of ``index``, or the bundled one.
        index: where the documents are from, if it is one of this package: their vectors, texts and words are read there.
        about: what the page says of itself: ``title``, ``notes`` (name to text) and ``tables`` (``title``, ``head``, ``rows``).
        verbose: show progress.

    Returns:
        The path.

    Raises:
        ValueError: no results, missing columns, explanations by another dictionary.

    Example::

        to_html(explain.search("sort a list by two keys"), "why.html")
    """
    pt.validate.columns(results, includes=["qid", "query", "query_vec", "docno"])
    if not len(results):
        raise ValueError("to_html expects at least one result, found none")
    explained = explained_in(results, stage="to_html") if "explanation" in results.columns else []
    model, floor = _model_of(explained, results, model, index)
    queries, query_rows = queries_of(results, model, stage="to_html")
    if index is None:
        _needs(results, ["doc_vec", "text"])
        documents, doc_rows = documents_of_frame(results, model, stage="to_html", verbose=verbose)
        collection = None
    else:
        index = index.with_views(model.aspects)
        docids, doc_rows = docids_of(index, results, stage="to_html")
        given = dict(zip(results["docno"].astype(str), results["text"])) if "text" in results.columns else None
        documents = documents_of_index(index, docids, texts=given, stage="to_html", verbose=verbose)
        collection = collection_of_index(index)
    ranks = pd.to_numeric(results["rank"], errors="coerce") if "rank" in results.columns else np.arange(len(results))
    order = np.argsort(np.asarray(ranks, np.float64), kind="stable")  # a row without a rank comes last
    rankings = [[int(doc_rows[i]) for i in order if query_rows[i] == q] for q in range(len(queries.qids))]
    data = page_data(
        model, queries, documents, rankings, min_confidence=floor, collection=collection,
        about={**(about or {}), "other_score": any(getattr(e, "ranking", None) for e in explained)},
        mean=model.mean_document() if index is None else index.mean_document(), verbose=verbose,
    )  # fmt: skip
    return _write(path, data)


def explore(
    index: XetrievalIndex, topics: pd.DataFrame, path: str | os.PathLike[str], *, documents: int = 2000,
    texts: Mapping[str, str] | None = None, about: Mapping[str, Any] | None = None, verbose: bool = False,
) -> Path:  # fmt: skip
    """Writes an index as one HTML file: :func:`to_html` of the topics' results, with examples of features beside them.

    Args:
        index: made with ``evidence=True``, which keeps texts and words; without words every text in the page is read by
            the encoder.
        topics: ``qid`` and ``query``.
        path: the file; an older one is replaced when all is done.
        documents: how many are in the page at most: each topic's first results (up to 100, at least 10), texts that have the
            topics' features strongly or weakly, and some more at equal distances. The page ranks among these.
        texts: docno to text, for an index that does not keep them.
        about: as in :func:`to_html`.
        verbose: show progress.

    Returns:
        The path.

    Raises:
        ValueError: no topics, or more than the documents leave place for; an index without texts and none given.

    Example::

        explore(index, dataset.get_topics().head(5), "explorer.html")
    """
    pt.validate.query_frame(topics, extra_columns=["query"])
    documents = positive_int(documents, "documents", stage="explore")
    if not len(topics) or 10 * len(topics) > documents:
        raise ValueError(f"explore expects 1 to {documents // 10} topics for {documents} documents, found {len(topics)}")
    query_texts(topics, stage="explore")
    model = index.model
    asked = model.shared_encoder(topics[["qid", "query"]].astype(str))
    depth = max(10, min(DEPTH, documents // (2 * len(topics))))
    results = index.retriever(num_results=depth)(asked)
    queries, query_rows = queries_of(results, model, stage="explore")
    found, doc_rows = docids_of(index, results, stage="explore")
    codes = encode_view(model.sae, queries.vectors, refit=False, batch_size=512)
    features = np.unique(codes.ids[codes.activations > 0])
    chosen = chosen_documents(index, found, features, documents)
    own = documents_of_index(index, chosen, texts=texts, stage="explore", verbose=verbose)
    place = np.searchsorted(chosen, found)
    rankings = [place[doc_rows[query_rows == q]].tolist() for q in range(len(queries.qids))]
    data = page_data(
        model, queries, own, rankings, min_confidence=model.min_confidence, collection=collection_of_index(index),
        all_features=True, about=about, mean=index.mean_document(), verbose=verbose,
    )  # fmt: skip
    return _write(path, data)


def _model_of(
    explained: list[Explanation], results: pd.DataFrame, model: Xetrieval | None, index: XetrievalIndex | None
) -> tuple[Xetrieval, float]:
    """The model with the views that are explained, and the confidence from which on features are shown."""
    own = model or (index.model if index is not None else Xetrieval.default())
    for e in explained:
        if e.labels.dictionary != own.labels.dictionary:
            raise ValueError(
                f"to_html expects explanations by the dictionary of {own!r}, found one by another; give the model that made them"
            )
    views = {e.views for e in explained} or {("original", *(a for a in own.aspects if f"doc_vec_{a}" in results.columns))}
    if len(views) > 1:
        raise ValueError(f"to_html expects explanations of the same views, found {sorted(views)}; write a page for each")
    floor = max((e.min_confidence for e in explained), default=own.min_confidence)
    return own.with_views(views.pop()[1:]), floor


def _needs(results: pd.DataFrame, columns: list[str]) -> None:
    cure = {"doc_vec": "VectorLoader(index)", "text": "dataset.text_loader()"}
    for column in columns:
        if column not in results.columns:
            raise ValueError(
                f"to_html expects results with {column}, found {list(results.columns)}; add {cure[column]} to the pipeline, "
                "or give index=, if it is a XetrievalIndex that keeps texts"
            )


def _write(path: str | os.PathLike[str], data: dict[str, Any]) -> Path:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # a text may hold what ends a script, and halves of pairs, which UTF-8 cannot write
    safe = re.sub("[<\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
    web = files("pyterrier_xetrieval.viz") / "web"
    style, program = ((web / name).read_text(encoding="utf-8") for name in ("explorer.css", "explorer.js"))
    style += "".join(
        f".b{i}{{background-color:{c.bar}}}.c{i}{{background:{c.mark}}}.u{i}{{box-shadow:inset 0 -3px {c.bar}}}"
        for i, c in enumerate(PALETTE)
    )
    title = escape(str(data["about"].get("title") or "Why these documents?"))
    path = Path(path)
    with replacing(path) as file:
        file.write(_PAGE.format(title=title, style=style, data=safe, program=program))
    return path
