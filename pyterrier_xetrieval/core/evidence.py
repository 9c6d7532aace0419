"""Exact evidence: how much each word of a text carries of a feature, of a contribution and of a score.

An encoder that averages its last token vectors and normalises the mean makes ``z = Σ_t h_t / (n ‖h̄‖)``: one summand for
each token. What is read off z by a dot product is therefore a sum over tokens, from the one forward pass that made z:

- a query's words carry ``⟨q, w_j⟩``, and so the contribution ``c_j ⟨q, w_j⟩``;
- a document's words carry the coefficient ``c_j``: with the active features fixed it is a dot product with z plus a
  constant (:func:`~.readings.activation_readings`), and so the same contribution seen from the other side;
- a view ``R_t(z)`` is an affine function of z at that z (:class:`~.readings.Secant`).

What no word carries stands in columns of its own, so that all columns add up to the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .codes import DocumentCodes
from .internalizer import Internalizer, internalize
from .readings import activation_readings, secant
from .sae import SparseAutoencoder

SPECIAL, PROMPT, CONSTANT, STORED = -4, -3, -2, -1  # the last columns of every table; WordVectors has no STORED yet
OTHER, BIAS, RESIDUAL = -3, -2, -1  # the last rows of a pair's tables


@dataclass(frozen=True)
class WordVectors:
    """A text's vector as a sum over its words, or what it loses without each of them.

    Attributes:
        spans: int32 ``[w, 2]``, where the words (or sentences, …) are in the text, ``text[start:stop]``.
        rows: float32 ``[w + 3, m]``, the words' parts of the vector, then those of the special tokens ([CLS], [SEP]), of
            the prompt, and a constant. If ``exact`` they add up to the vector.
        exact: False for leave-out: row i is ``z − z without word i``, the last three are 0, and nothing adds up.
        stopped_at: the first character that the encoder no longer read; None if it read the whole text.

    Raises:
        ValueError: another number of rows.
    """

    spans: np.ndarray
    rows: np.ndarray
    exact: bool = True
    stopped_at: int | None = None

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.spans) + 3:
            raise ValueError(f"WordVectors expects a row for each of {len(self.spans)} words and 3 more, found {len(self.rows)}")

    @property
    def vector(self) -> np.ndarray:
        """What the rows add up to, float64 ``[m]``."""
        return self.rows.sum(axis=0, dtype=np.float64)


@dataclass(frozen=True)
class WordTable:
    """How much each word of one text carries of each of ``p`` numbers.

    Attributes:
        spans, exact, stopped_at: as in :class:`WordVectors`.
        values: float64 ``[p, w + 4]``: the words, then what no word carries: special tokens (column ``SPECIAL``), the
            prompt (``PROMPT``), bias terms and other constants (``CONSTANT``), and what is in the stored vectors but not in
            this forward pass (``STORED``: rounding, storage in fewer bits, an edit). The last two are 0 in leave-out.
    """

    spans: np.ndarray
    values: np.ndarray
    exact: bool = True
    stopped_at: int | None = None

    @property
    def words(self) -> np.ndarray:
        """The words' columns alone, float64 ``[p, w]``."""
        return self.values[:, : len(self.spans)]

    @property
    def sums(self) -> np.ndarray:
        """The numbers that the columns add up to, float64 ``[p]``."""
        return self.values.sum(axis=1)

    def check(self, expected: np.ndarray, tolerance: float = 1e-4) -> None:
        """ValueError unless every row adds up to its number (float ``[p]``), and all together to the sum of these."""
        if not self.exact:
            raise ValueError("WordTable.check expects exact evidence, found leave-out: its parts do not add up to anything")
        gap = np.abs(self.sums - expected).max(initial=0.0)
        if not max(gap, abs(self.values.sum() - np.sum(expected, dtype=np.float64))) <= tolerance:
            raise ValueError(f"words add up to {self.sums}, but should to {expected}; are vectors, codes and options the same?")

    def grouped(self, spans: np.ndarray, groups: np.ndarray) -> WordTable:
        """The same for sentences or paragraphs: the sum of their words.

        Args:
            spans: int32 ``[g, 2]``, where they are; groups: int ``[w]``, which one each word is in.

        Raises:
            ValueError: leave-out; what a sentence changes is not the sum of what its words change.
        """
        if not self.exact:
            raise ValueError("WordTable.grouped expects exact evidence, found leave-out: leave out whole sentences instead")
        places = np.concatenate([groups, len(spans) + np.arange(4)]).astype(np.int64)
        return WordTable(spans, sum_rows(self.values.T, places, len(spans) + 4).T, True, self.stopped_at)


@dataclass(frozen=True)
class Evidence:
    """Both texts' words behind one score: feature by word, once for the query and once for the document.

    The first ``s`` rows of both tables are the listed features, and row i adds up to the contribution of feature i; the
    rows ``OTHER``, ``BIAS`` and ``RESIDUAL`` add up to the rest of the explanation. A word's column adds up to the word's
    part of the score. Both tables split the same score: one among the words of the query, one among the document's.

    Attributes:
        features: int ``[s]``, ids, in the explanation's order.
        query, document: tables of ``s + 3`` rows.

    Example::

        evidence.document.words[0].argmax()                # the word that carries most of the first feature
        evidence.query.words.sum(axis=0)                   # each query word's part of the score
        evidence.check([*e.contributions, e.other, e.bias, e.residual])
    """

    features: np.ndarray
    query: WordTable
    document: WordTable

    def check(self, parts: Sequence[float] | np.ndarray, tolerance: float = 1e-4) -> None:
        """ValueError unless the rows of every exact table add up to ``parts``: contributions, other, bias, residual."""
        for table in (self.query, self.document):
            if table.exact:
                table.check(np.asarray(parts, np.float64), tolerance)


def document_evidence(
    sae: SparseAutoencoder, internalizers: Sequence[Internalizer], document: WordVectors, views: Sequence[np.ndarray],
    codes: DocumentCodes, row: int, *, weights: Sequence[float], refit: bool,
) -> WordTable:  # fmt: skip
    """The words behind each active feature of a document, whatever the query.

    Arguments as in :func:`pair_evidence`. With the original view alone and codes without refit this is the activation.

    Returns:
        A table of t rows, one for each feature that ``codes`` lists for the document, in that order; row j adds up to
        ``Σ_v w_v c_v,j``.
    """
    own = slice(codes.offsets[row], codes.offsets[row + 1])
    every = np.eye(own.stop - own.start)
    values = _through_views(sae, internalizers, document, views, codes, own, every, None, weights, refit)
    return WordTable(document.spans, values, document.exact, document.stopped_at)


def pair_evidence(
    sae: SparseAutoencoder, internalizers: Sequence[Internalizer], query: WordVectors, query_vec: np.ndarray,
    document: WordVectors, views: Sequence[np.ndarray], codes: DocumentCodes, row: int, features: np.ndarray,
    *, weights: Sequence[float], refit: bool,
) -> Evidence:  # fmt: skip
    """The words of both texts behind the score ``Σ_v w_v ⟨q, v⟩`` as :func:`~.attribution.attribute` takes it apart.

    Args:
        internalizers: one for each view but the first.
        query, document: the texts' words; query_vec: float32 ``[m]`` and views: float32 ``[m]`` each, the original
            first: the vectors that were scored.
        codes: of documents, with ``V`` views; row: which one this is.
        features: int ``[s]``, the listed ones, all of them among the document's.
        weights: ``V`` numbers, the original view's first; refit: how the coefficients in ``codes`` were made.

    Raises:
        ValueError: other numbers of views than weights, codes or internalizers; a listed feature that the document lacks.
    """
    own, q = slice(codes.offsets[row], codes.offsets[row + 1]), query_vec.astype(np.float64)
    features = np.asarray(features)
    folded = codes.coefficients[own].astype(np.float64) @ np.asarray(weights, np.float64)
    directions = sae.directions(codes.features[own]).astype(np.float64)
    b = sae.bias.astype(np.float64)
    if missing := set(features.tolist()) - set(codes.features[own].tolist()):
        raise ValueError(f"pair_evidence expects features that the document has, found {sorted(missing)}")
    place = np.searchsorted(codes.features[own], features)
    parts = np.zeros((len(features) + 1, len(folded)))  # which features make up each part: one each, then all others
    parts[np.arange(len(features)), place] = 1
    parts[-1] = 1 - parts[:-1].sum(axis=0)

    readings = np.empty((len(features) + 3, sae.dim))
    readings[:BIAS] = (parts * folded) @ directions
    readings[BIAS] = np.sum(weights) * b
    readings[RESIDUAL] = np.einsum("v,vm->m", weights, np.stack(views).astype(np.float64)) - readings[:RESIDUAL].sum(axis=0)
    values = readings @ vector_columns(query, q).T

    combine = parts * (directions @ q)
    of_document = _through_views(sae, internalizers, document, views, codes, own, combine, q, weights, refit)
    whole, of_document[-1] = of_document[-1].copy(), 0.0  # ⟨q, v⟩ itself, whose place the bias takes: a constant
    if document.exact:
        of_document[-1, CONSTANT] = np.sum(weights) * (q @ b)
    of_document = np.concatenate([of_document, [whole - of_document.sum(axis=0)]])
    return Evidence(
        features,
        WordTable(query.spans, values, query.exact, query.stopped_at),
        WordTable(document.spans, of_document, document.exact, document.stopped_at),
    )


def _through_views(
    sae: SparseAutoencoder, internalizers: Sequence[Internalizer], document: WordVectors, views: Sequence[np.ndarray],
    codes: DocumentCodes, own: slice, combine: np.ndarray, q: np.ndarray | None, weights: Sequence[float], refit: bool,
) -> np.ndarray:  # fmt: skip
    """By word, float64 ``[p, w + 4]``: ``Σ_v w_v Σ_j combine_j c_v,j``, and ``Σ_v w_v ⟨q, v⟩`` as a last row if there is a q."""
    if not len(views) == len(weights) == codes.coefficients.shape[1] == len(internalizers) + 1:
        counts = f"{len(views)} views, {len(weights)} weights, codes of {codes.coefficients.shape[1]}, {len(internalizers)}"
        raise ValueError(f"evidence expects as many views, weights and codes, and one internalizer fewer, found {counts}")
    columns = vector_columns(document, views[0])
    out = np.zeros((len(combine) + (q is not None), len(columns)))
    for v, (view, weight) in enumerate(zip(views, weights)):
        active = codes.activations[own, v] > 0
        ids, coefficients = codes.features[own][active], codes.coefficients[own, v][active]
        rows, constants = activation_readings(sae, view, ids, coefficients, refit=refit, combine=combine[:, active])
        if q is not None:
            rows, constants = np.concatenate([rows, [q]]), np.append(constants, 0.0)
        if v == 0:
            values = rows @ columns.T
        elif document.exact:
            of_view = secant(internalizers[v - 1], views[0])
            values = of_view.pull_back(rows) @ columns.T
            values[:, CONSTANT] += rows @ of_view.constant
            values[:, STORED] += rows @ (view - of_view(views[0]))
        else:
            without = np.concatenate([views[:1], views[0] - columns]).astype(np.float32)
            made = internalize(internalizers[v - 1], without, batch_size=256)
            values = rows @ (made[0] - made[1:]).T
        if document.exact:
            values[:, CONSTANT] += constants
        out += weight * values
    return out


def vector_columns(words: WordVectors, vector: np.ndarray) -> np.ndarray:
    """float64 ``[w + 4, m]``: the words' rows, and as a last one what the stored vector has that they have not."""
    gap = vector - words.vector if words.exact else np.zeros_like(words.vector)
    return np.concatenate([words.rows, [gap]], dtype=np.float64)


def sum_rows(rows: np.ndarray, groups: np.ndarray, n: int) -> np.ndarray:
    """The sum of the rows of each group, ``[n, m]``: groups int64, one in ``0 … n-1`` for each row."""
    out = np.zeros((n, rows.shape[1]), rows.dtype)
    order = np.argsort(groups, kind="stable")
    found, first = np.unique(groups[order], return_index=True)
    if len(found):
        out[found] = np.add.reduceat(rows[order], first, axis=0)
    return out
