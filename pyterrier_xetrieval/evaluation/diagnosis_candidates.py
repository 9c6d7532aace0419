"""What a diagnosis looks at: every query's results and relevant documents, with what their scores are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import found_type
from ..core.codes import active_features, encode_view
from ..core.views import unit_rows
from ..documents import as_texts
from ..explanation import Explanation
from ..index import XetrievalIndex
from ..index.statistics import search_parts
from ..model import Xetrieval
from ..stages.load import compares_by_cosine
from .collection import CUTOFF, EmbeddedCollection
from .judgements import answerable

if TYPE_CHECKING:
    from pyterrier_dr import FlexIndex
    from scipy import sparse

_QUERIES = 256  # explained at once: bounds the memory for explanations, of which numbers alone are kept
PARTS = ("other", "bias", "residual")  # of a score, beside the features


@dataclass(frozen=True, eq=False)
class Searched:
    """An index as a diagnosis sees it.

    Attributes:
        model: with the views that are explained; index: it, if it is one of this package.
        docnos: str ``[n]``; vectors: float32 ``[n, m]``, whose dot products with queries are the scores.
        explainer: adds ``explanation`` to pairs of any of its documents.
    """

    model: Xetrieval
    index: XetrievalIndex | None
    docnos: np.ndarray
    vectors: np.ndarray
    explainer: pt.Transformer

    @classmethod
    def of(cls, index: XetrievalIndex | FlexIndex, model: Xetrieval | None) -> Searched:
        """ValueError for something else than an index, and for a FlexIndex without a model."""
        own = index if isinstance(index, XetrievalIndex) else None
        if own is None and (model is None or not hasattr(index, "np_vecs")):
            raise ValueError(f"diagnose expects index to be a XetrievalIndex, or a FlexIndex with model=, found {index!r}")
        flex, found, explainer = search_parts(index, model)
        docnos = np.asarray(flex.docnos().fwd[np.arange(len(flex.np_vecs()))]).astype(np.str_)
        vectors = np.array(flex.np_vecs(), np.float32)  # torch warns of the memory of a file that is open to be read
        return cls(found, own, docnos, unit_rows(vectors) if compares_by_cosine(flex) else vectors, explainer)


@dataclass(frozen=True, eq=False)
class ExplainedCandidates:
    """``n`` pairs, query by query and best score first: the results, and the relevant documents that are not among them.

    Attributes:
        query: int64 ``[n]``, row of the query in the collection; docs: int64 ``[n]``, row of the document.
        relevant, retrieved: bool ``[n]``; score: float64 ``[n]``, the explained score.
        contributions: float32 sparse ``[n, D]``, of the shared features; rest: float64 ``[n, 3]``, :data:`PARTS`.
        asked: float32 sparse ``[q, D]``, the activations of the queries' features.
    """

    query: np.ndarray
    docs: np.ndarray
    relevant: np.ndarray
    retrieved: np.ndarray
    score: np.ndarray
    rest: np.ndarray
    contributions: sparse.csr_matrix
    asked: sparse.csr_matrix

    def of_queries(self) -> Iterator[tuple[int, slice]]:
        """The pairs of each query that has any."""
        starts = np.flatnonzero(np.diff(self.query, prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(self.query)]):
            yield int(self.query[start]), slice(start, stop)

    def wrong_on_page(self, pairs: slice) -> np.ndarray:
        """The results among a query's first ten that are not relevant, int64, best first."""
        page = np.flatnonzero(self.retrieved[pairs])[:CUTOFF] + pairs.start
        return page[~self.relevant[page]]

    def compared(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Weights of what is compared: for each query its wrong results, and the relevant documents that they stand above.

        Each relevant document below a wrong result of the page is compared with the mean of all these that stand above it.

        Returns:
            two sparse ``[q, n]``, wrong and right; rows that are not empty sum to 1.
        """
        from scipy import sparse  # late: it takes a second to import

        sides: tuple[list, list] = ([], [])
        for q, pairs in self.of_queries():
            wrong = self.wrong_on_page(pairs)
            right = np.flatnonzero(self.relevant[pairs]) + pairs.start
            right = right[right > wrong[0]] if len(wrong) else right[:0]
            for r in right.tolist():
                above = wrong[wrong < r]
                sides[0].extend((q, w, 1 / len(right) / len(above)) for w in above.tolist())
                sides[1].append((q, r, 1 / len(right)))
        shape = self.asked.shape[0], len(self.query)
        wrong_side, right_side = (_matrix(side, shape, sparse) for side in sides)
        return wrong_side, right_side


def _matrix(entries: list[tuple[int, int, float]], shape: tuple[int, int], sparse: Any) -> Any:
    rows, columns, values = zip(*entries) if entries else ((), (), ())
    return sparse.csr_matrix((np.array(values, np.float64), (np.array(rows, int), np.array(columns, int))), shape)


def gather(
    pipeline: pt.Transformer, topics: pd.DataFrame, qrels: pd.DataFrame, searched: Searched, excluded: pd.DataFrame | None,
    *, verbose: bool,
) -> tuple[EmbeddedCollection, ExplainedCandidates]:  # fmt: skip
    """Runs the pipeline and explains the relevant documents that it does not find.

    Raises:
        ValueError: no result for any judged query; results without explanations, by another dictionary, of other views, ranked
            by another score, or of documents that the index does not hold.
    """
    none = pd.DataFrame(columns=["qid", "docno"], dtype=str)
    asked = answerable("the collection", searched.docnos, topics, qrels, none if excluded is None else excluded)
    rows = pd.Index(searched.docnos)
    barred = {(q, row) for q, own in enumerate(asked.excluded) for row in own.tolist()}
    place = {qid: q for q, qid in enumerate(asked.qids.tolist())}
    mine = topics[topics["qid"].astype(str).isin(place)]
    pairs: list[tuple[int, int, bool]] = []
    parts: list[tuple] = []
    queries = np.zeros((len(place), searched.model.dim), np.float32)
    for start in pt.tqdm(range(0, len(mine), _QUERIES), desc="queries", disable=not verbose):
        results = _checked(pipeline(mine.iloc[start : start + _QUERIES]), searched)
        found: set[tuple[int, int]] = set()
        own = [place[qid] for qid in as_texts(results["qid"].tolist(), stage="diagnose")]
        docs = rows.get_indexer(as_texts(results["docno"].tolist(), stage="diagnose"))
        if (docs < 0).any():
            raise ValueError(f"diagnose expects results that the index holds, found {results['docno'].iloc[docs.argmin()]!r}")
        for q, row, vector, e in zip(own, docs.tolist(), results["query_vec"].tolist(), results["explanation"].tolist()):
            queries[q] = vector
            if (q, row) not in found and (q, row) not in barred:
                found.add((q, row))
                pairs.append((q, row, True))
                parts.append(_numbers(e))
        missed = [(q, row) for q in sorted(set(own)) for row, g in asked.judged[q].items() if g > 0 and (q, row) not in found]
        frame = pd.DataFrame({
            "qid": [asked.qids[q] for q, _ in missed], "docno": [searched.docnos[row] for _, row in missed],
            "query_vec": [queries[q] for q, _ in missed],
        })  # fmt: skip
        pairs += [(q, row, False) for q, row in missed]
        parts += [_numbers(e) for e in searched.explainer.transform(frame)["explanation"]] if missed else []
    if not pairs:
        raise ValueError(f"diagnose expects results for some of the {len(place)} judged queries, found none")
    kept = np.unique([q for q, _, _ in pairs])  # a query without results has no vector, and cannot be searched again
    collection = EmbeddedCollection(
        "the collection", searched.docnos, searched.vectors, asked.qids, queries, asked.judged, asked.excluded,
        query_texts=np.array(asked.texts, object),
    ).select(kept)  # fmt: skip
    return collection, _joined(pairs, parts, collection, np.searchsorted(kept, np.arange(len(place))), searched.model)


def _checked(results: pd.DataFrame, searched: Searched) -> pd.DataFrame:
    pt.validate.columns(results, includes=["qid", "docno", "query_vec", "explanation"])
    views = ("original", *searched.model.aspects)
    for e in results["explanation"].tolist():
        if not isinstance(e, Explanation):
            raise ValueError(f"diagnose expects an Explanation in every row, found {found_type(e)}")
        if e.labels.dictionary != searched.model.labels.dictionary or e.views != views:
            raise ValueError(
                f"diagnose expects explanations of the views {views} by the dictionary of the index, found {e.views} of "
                f"{'the same' if e.labels.dictionary == searched.model.labels.dictionary else 'another'} dictionary; "
                "give the index that the pipeline explains (index.with_views(()) for a dense retriever), and its model"
            )
    explained = np.array([e.score for e in results["explanation"]], np.float64)
    if "score" in results.columns and not np.allclose(results["score"], explained, rtol=1e-3, atol=1e-3):
        raise ValueError(
            "diagnose expects results that are ranked by the score that is explained, found another score; "
            "diagnose the retriever alone, or put model.scorer() before the explainer"
        )
    return results


def _numbers(e: Explanation) -> tuple:
    return e.score, e.features, e.contributions, e.other, e.bias, e.residual


def _joined(
    pairs: list[tuple[int, int, bool]], parts: list[tuple], collection: EmbeddedCollection, renamed: np.ndarray, model: Xetrieval
) -> ExplainedCandidates:
    from scipy import sparse  # late: it takes a second to import

    query, docs, retrieved = (np.array(column) for column in zip(*pairs))
    query = renamed[query]
    score, features, values, *rest = zip(*parts)
    order = np.lexsort((np.arange(len(query)), -np.array(score), query))
    ends = np.cumsum([0, *map(len, features)])
    matrix = sparse.csr_matrix(
        (np.concatenate(values), np.concatenate(features), ends), shape=(len(query), model.sae.dict_size)
    )[order]  # fmt: skip
    codes = encode_view(model.sae, collection.queries, refit=False, batch_size=512)
    row, feature, activation = active_features(codes.ids, codes.activations)
    asked = sparse.csr_matrix((activation, (row, feature)), shape=(len(collection.qids), model.sae.dict_size))
    relevant = np.array([collection.judged[q].get(d, 0) > 0 for q, d in zip(query.tolist(), docs.tolist())], bool)
    return ExplainedCandidates(
        query[order], docs[order], relevant[order], retrieved[order], np.array(score)[order], np.array(rest).T[order], matrix, asked,
    )  # fmt: skip
