"""Keyword labels of features: the words that set a feature's most activating texts apart (class-based TF-IDF)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.codes import active_features
from ..labels import FeatureLabels

if TYPE_CHECKING:
    import torch
    from scipy import sparse

METHOD = "keywords (c-TF-IDF)"
# words of dialogue, question and answer forms, and of web pages; they say how a text is written and not what it is about
_FORM_WORDS = """
able ago ain also answer answers ask asked asking awesome bit came come comes coming couldn course day days did didn does doesn
doing don done edit else etc example examples exactly feel find following gave general get gets getting give given gives giving going
gone gonna good got guess gt happen happened happens hasn haven having hello help hey hope http https idea include
included includes including information isn just kind know known kn lead let like likely list little ll look looking looks lot lots lt
made main make makes making man matter maybe mean means mentioned mightn miss mr mrs ms much need needed needs new nbsp ok okay old org
perhaps please point possible post probably provide provides put question questions quite read reading real really reason related
result right said saw say saying says second see seen sense set shouldn similar simply site situation sir sort speaker specific start
sure talk talking tell tells text thank thanks thing things think thinking thought time times told took topic totally tried true try trying
type types understand use used useful user uses using usually ve want wanted wants wasn way ways website week went weren woman won word
words work works wouldn wow wrong www yeah year years yes yesterday young com called certain change discussed discusses explain
explains explained great term terms common
""".split()
_TOKEN = re.compile(r"[a-z]+(?:-[a-z]+)*|\d+|[^\sa-z\d]")
_VOWEL = re.compile(r"[aeiouy]")


@cache
def stop_words() -> frozenset[str]:
    """Words that no label consists of."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # late: scikit-learn takes a second to load

    return frozenset(ENGLISH_STOP_WORDS).union(_FORM_WORDS)


def _is_word(token: str) -> bool:
    return 3 <= len(token) <= 25 and token[0].isalpha() and _VOWEL.search(token) is not None


def tokens(text: str) -> list[str]:
    """Lower-case words of three letters or more; numbers, codes and single letters are no words.

    Example::

        >>> tokens("The 3 dogs ran.")
        ['the', 'dogs', 'ran']
    """
    return [token for token in _TOKEN.findall(text.lower()) if _is_word(token)]


def terms(text: str) -> list[str]:
    """What a label may consist of: words, and pairs of words that stand next to each other, without stop words.

    Example::

        >>> terms("Of the mitral valve")
        ['mitral', 'valve', 'mitral valve']
    """
    found = _TOKEN.findall(text.lower())
    fit = [_is_word(token) and token not in stop_words() for token in found]
    pairs = [f"{found[i]} {found[i + 1]}" for i in range(len(found) - 1) if fit[i] and fit[i + 1] and found[i] != found[i + 1]]
    return [token for token, ok in zip(found, fit, strict=True) if ok] + pairs


def stem(word: str) -> str:
    """A crude stem, for seeing that two words are forms of one.

    Example::

        >>> stem("studies") == stem("studied") == stem("study")
        True
    """
    if word.endswith("ies") and len(word) > 5:
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for end in ("ing", "ied", "ed", "er", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            word = word[: len(word) - len(end)] + ("y" if end == "ied" else "")
            break
    return word[:8]


def top_texts(ids: np.ndarray, values: np.ndarray, dict_size: int, *, top: int) -> sparse.csr_matrix:
    """The ``top`` most activating texts of each feature, as weights: csr float32 ``[D, n]``, each row summing to 1.

    Args:
        ids, values: int ``[n, k]`` and float ``[n, k]``, the texts' codes.
    """
    from scipy import sparse  # late: only those who make labels wait for it

    rows, features, strength = active_features(ids, values)
    order = np.lexsort((rows, -strength, features))
    rows, features, strength = rows[order], features[order], strength[order]
    first = np.searchsorted(features, np.arange(dict_size))
    keep = np.arange(len(features)) - first[features] < top
    weights = sparse.csr_matrix((strength[keep].astype(np.float32), (features[keep], rows[keep])), (dict_size, len(ids)))
    total = np.asarray(weights.sum(axis=1)).ravel()
    return sparse.diags_array(1 / np.maximum(total, 1e-12)).dot(weights).tocsr().astype(np.float32)


def keyword_labels(
    texts: Sequence[str],
    ids: np.ndarray | torch.Tensor,
    values: np.ndarray | torch.Tensor,
    *,
    dict_size: int,
    firing_rate: np.ndarray | None = None,
    max_activation: np.ndarray | None = None,
    tops: Sequence[int] = (1000, 250, 80),
    words: int = 3,
    min_texts: int = 5,
    min_share: float = 0.12,
    min_lift: float = 2.5,
) -> FeatureLabels:
    """Labels of features, each by its one to ``words`` most distinctive terms.

    A feature's texts are its most activating ones, weighted by activation: the first number of ``tops`` that gives a
    label, since many texts tell best what a feature is about in general, but say nothing of a rare one. With p the
    weighted share of them that has a term and b the share of all texts that has it, the term's score is
    ``p · log(1 + p / b)``: TF-IDF with features as the classes (Grootendorst 2022), where a term counts once a text so
    that no single text decides. Terms that share a stem with a better one are left out; a pair of words replaces its words
    if it is nearly as frequent.

    Args:
        texts: list of n strings; ids, values: int ``[n, k]``, float ``[n, k]``, their codes (arrays or CPU tensors).
        dict_size: ``D``.
        firing_rate, max_activation: float ``[D]`` for the rows, by default those of these texts.
        tops, words: see above.
        min_texts: a term must occur in that many texts (1 of a feature's own is not enough).
        min_share: p of a term that is worth naming; the best term is named if at least half of that.
        min_lift: a term must be that many times as frequent in the feature's texts as in all.

    Returns:
        labels with a row ``{feature, label, method, firing_rate, max_activation}`` for each of the D features in order; a
        feature that no text activates, or without a distinctive term, has an empty label.

    Example::

        codes = sae.encode(torch.from_numpy(vectors))
        labels = keyword_labels(texts, codes.ids, codes.values, dict_size=sae.dict_size)
    """
    from sklearn.feature_extraction.text import CountVectorizer

    ids, values = np.asarray(ids), np.asarray(values)
    if len(texts) != len(ids) or ids.shape != values.shape:
        raise ValueError(
            f"keyword_labels expects one code per text, found {len(texts)} texts, codes {ids.shape} and {values.shape}"
        )
    vectorizer = CountVectorizer(analyzer=terms, binary=True, min_df=min(min_texts, len(texts)), max_df=0.5, dtype=np.float32)
    counts = vectorizer.fit_transform(texts).tocsr()
    names = vectorizer.get_feature_names_out()
    background = np.asarray(counts.mean(axis=0)).ravel()
    labels = [""] * dict_size
    for top in tops:
        weights = top_texts(ids, values, dict_size, top=top)
        shares = (weights @ counts).tocsr()
        own_texts = ((weights > 0).astype(np.float32) @ counts).tocsr()
        for j in range(dict_size):
            if labels[j]:
                continue
            columns, p = row_of(shares, j)
            n_own = dict(zip(*row_of(own_texts, j), strict=True))
            score = p * np.log1p(p / background[columns])
            best = []
            for i in np.argsort(-score, kind="stable")[:40]:
                column, share = columns[i], p[i]
                if n_own[column] >= 2 and share >= min_share / 2 and share >= min_lift * background[column]:
                    best.append((names[column], float(share)))
            labels[j] = ", ".join(_choose(best, words, min_share))
    if firing_rate is None:
        firing_rate = np.bincount(ids[values > 0], minlength=dict_size) / len(texts)
    if max_activation is None:
        max_activation = np.zeros(dict_size, np.float32)
        np.maximum.at(max_activation, ids.ravel(), values.ravel())
    table = pd.DataFrame({"feature": np.arange(dict_size), "label": labels, "method": METHOD})
    figures = {"firing_rate": np.asarray(firing_rate, float), "max_activation": np.asarray(max_activation, float)}
    return FeatureLabels(table.assign(**figures), dict_size)


def row_of(matrix: sparse.csr_matrix, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of row ``j``."""
    part = slice(matrix.indptr[j], matrix.indptr[j + 1])
    return matrix.indices[part], matrix.data[part]


def _choose(best: list[tuple[str, float]], words: int, min_share: float) -> list[str]:
    """The terms of a label, from the best candidates and their shares of the texts."""
    shares = dict(best)
    chosen: list[str] = []
    stems: set[str] = set()
    for name, share in best:
        if len(chosen) == words or (chosen and share < min_share):
            break
        if " " not in name:  # a pair that nearly always comes with this word says more
            pairs = [p for p in shares if " " in p and name in p.split() and shares[p] >= 0.6 * share]
            name = max(pairs, key=shares.__getitem__, default=name)
        own = {stem(w) for w in name.split()}
        if not own & stems:
            chosen.append(name)
            stems |= own
    return chosen


def keyword_quality(
    labels: FeatureLabels,
    texts: Sequence[str],
    ids: np.ndarray,
    values: np.ndarray,
    *,
    strong: int = 10,
    min_strong: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    """Do texts in which a feature is strongly active contain the words of its label more often than other texts?

    On texts that the labels were not made from: for each labelled feature that at least ``min_strong`` of them
    activate, the ``strong`` most activating texts and as many random texts that do not activate it are told apart by
    "contains a word (stem) of the label". The area under the curve of such a yes/no test is ``(1 + hits - false) / 2``.

    Args:
        labels: the labels to judge.
        texts, ids, values: held-out texts and their codes, as for :func:`keyword_labels`.
        strong, min_strong: see above.
        seed: of the random texts.

    Returns:
        ``{features, hits, false_alarms, auc}``, means over features, and ``auc_above_half``, the share of features
        whose label is better than chance.

    Example::

        keyword_quality(labels, held_texts, held.ids, held.activations)["auc"]      # .5 tells nothing apart
    """
    rng = np.random.default_rng(seed)
    stems = [{stem(w) for w in tokens(t)} for t in texts]
    weights, everywhere = (top_texts(ids, values, labels.dict_size, top=top) for top in (strong, len(texts)))
    shares = []
    for j in range(labels.dict_size):
        label, own = labels.name(j), row_of(weights, j)[0]
        if not label or len(own) < min_strong:
            continue
        active = set(row_of(everywhere, j)[0])
        others = [i for i in rng.integers(len(texts), size=3 * len(own)) if i not in active][: len(own)]
        if others:  # a feature that is active nearly everywhere leaves nothing to tell apart
            wanted = {stem(w) for w in tokens(label)}
            shares.append([np.mean([bool(wanted & stems[i]) for i in rows]) for rows in (own, others)])
    hits, false = np.array(shares).reshape(-1, 2).T
    auc = (1 + hits - false) / 2
    figures = {"hits": hits, "false_alarms": false, "auc": auc, "auc_above_half": auc > 0.5}
    return {"features": len(hits)} | {name: float(v.mean()) if len(hits) else float("nan") for name, v in figures.items()}
