"""Labels from evidence: a feature is called by the words that carry it in the texts that activate it most."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..core.confidence import Confidence
from ..datasets.corpus_file import CorpusFile
from ..documents import docno_of, no_text, text_of
from ..labels import FeatureLabels
from ..token_vectors import TokenEncoder
from ..words import content_words, spans
from .keywords import row_of, stem

if TYPE_CHECKING:
    from ..core.evidence import WordVectors
    from ..core.sae import SparseAutoencoder

METHOD = "words by evidence"
MIN_TEXTS = 20  # of a sample
HELD_BATCH = 128  # texts between two moves of the bar
STRONG = 0.3  # of a feature's largest activation: below it, few texts are about what the feature is about
FOR_DETECTION = 2  # strong held-out texts; how little two of them say is in the lower bound
_Z = 1.645  # 95 of 100 detections are above their lower bound
_CARRIES = 0.25  # of what the strongest word carries: words below it are not evidence
# what is believed of labels that nobody has judged: as judges found of the bundled model's, of which a contribution says nothing
# here (its size depends on the encoder), so that a label needs a good score on held-out texts, or its words in both texts
UNJUDGED = Confidence(intercept=-2.282, activation=0.96, clarity=0.434, detection=2.426, support=1.157)
# from which confidence on rows with such labels are shown: lower than others, because their confidence is too low (docs/e5.md: from .1 on
# 3 % of the rows that were read were nonsense, and few reach .4)
UNJUDGED_FLOOR = 0.1
UNJUDGED_FACTS: dict[str, Any] = {"confidence": UNJUDGED.to_dict(), "min_confidence": UNJUDGED_FLOOR, "judged": False}


class EvidenceCounts:
    """How much each word carries of each feature, over many texts.

    Args:
        sae: the dictionary.

    Example::

        counts = EvidenceCounts(model.sae)
        for rows, words in TokenEncoder(encoder).batches(texts):
            counts.add([texts[i] for i in rows], words)
        labels = counts.labels()
    """

    def __init__(self, sae: SparseAutoencoder):
        self.sae = sae
        self._stems: dict[str, int] = {}
        self._forms: list[Counter[str]] = []
        self._parts: list[tuple[np.ndarray, ...]] = []
        self.texts = 0

    @torch.no_grad()
    def add(self, texts: Sequence[str], words: Sequence[WordVectors]) -> None:
        """Takes some texts and their words into account."""
        z = torch.from_numpy(np.stack([own.vector for own in words]).astype(np.float32)).to(self.sae.w_enc.device)
        codes = self.sae.encode(z)
        encoder_rows = self.sae.w_enc.detach().cpu().numpy()
        for text, own, ids, values in zip(texts, words, codes.ids.cpu().numpy(), codes.values.cpu().numpy()):
            active = np.flatnonzero(values > 0)
            ids, values = ids[active], values[active]
            kept = np.flatnonzero(content_words(text, own.spans))
            if len(kept) and len(ids):
                shares = encoder_rows[ids] @ own.rows[kept].T  # each word's part of the activation
                feature, word = np.nonzero((shares > 0) & (shares >= _CARRIES * shares.max(axis=1, keepdims=True)))
                columns = np.array([self._column(text[a:b]) for a, b in own.spans[kept].tolist()])
                row = np.full(len(feature), self.texts)
                self._parts.append((ids[feature], columns[word], shares[feature, word], values[feature], row))
            self.texts += 1

    def _column(self, word: str) -> int:
        """The number of a word; forms of one word have one."""
        lower = word.lower()
        column = self._stems.setdefault(stem(lower), len(self._stems))
        if column == len(self._forms):
            self._forms.append(Counter())
        self._forms[column][lower] += 1
        return column

    def labels(self, *, min_texts: int = 3, most: int = 3) -> FeatureLabels:
        """Each feature's words: those that carry more of it than they carry of features in general.

        Only texts with more than three tenths of the feature's largest activation count, and only words of two of them: a
        word of one text, such as a name, is about that text. Features with the same words are told apart by their next ones.
        No list of stop words is needed beyond the function words that are never evidence: what carries many features says
        nothing about one.

        Args:
            min_texts: of strong texts that a feature needs to have a label; most: words of a label.

        Returns:
            Labels with ``max_activation`` (in these texts) and ``texts`` (how many strong ones there were).
        """
        from scipy import sparse  # late: only those who make labels wait for it

        dict_size = self.sae.dict_size
        if not self._parts:
            return FeatureLabels.empty(dict_size)
        feature, column, share, activation, text = (np.concatenate(part) for part in zip(*self._parts))
        largest = np.zeros(dict_size, np.float32)
        np.maximum.at(largest, feature, activation)
        strong = activation >= STRONG * largest[feature]
        pairs = np.unique(np.stack([feature[strong], text[strong]]), axis=1)
        texts = np.bincount(pairs[0], minlength=dict_size)
        shape = (dict_size, len(self._stems))
        carried = sparse.coo_array((share[strong], (feature[strong], column[strong])), shape).tocsr()
        places = np.unique(np.stack([feature[strong], column[strong], text[strong]]), axis=1)[:2]
        in_texts = sparse.coo_array((np.ones(places.shape[1]), tuple(places)), shape).tocsr()  # the same cells as carried
        total = np.asarray(carried.sum(axis=1)).ravel()
        general = np.asarray(carried.sum(axis=0)).ravel() / carried.sum()
        ranked = {}
        for j in np.flatnonzero((texts >= min_texts) & (total > 0)).tolist():
            columns, carries = row_of(carried, j)
            part = carries / total[j]
            score = part * np.log(part / general[columns])
            best = np.argsort(-score, kind="stable")
            best = best[row_of(in_texts, j)[1][best] > 1][:8]  # what one text has is about that text
            if len(best):
                ranked[j] = [(self._form(columns[i]), score[i]) for i in best]
        words = _told_apart(ranked, most)
        features = np.array(list(words), np.int64)
        table = pd.DataFrame({"feature": features, "label": [", ".join(own) for own in words.values()], "method": METHOD})
        figures = {"max_activation": largest[features].astype(np.float64), "texts": texts[features]}
        return FeatureLabels(table.assign(**figures), dict_size)

    def _form(self, column: int) -> str:
        return self._forms[column].most_common(1)[0][0]


def _told_apart(ranked: dict[int, list[tuple[str, float]]], most: int) -> dict[int, list[str]]:
    """The words of each feature; one more for those that would have the same."""
    chosen = {j: max(1, sum(s >= words[0][1] / 3 for _, s in words[:most])) for j, words in ranked.items()}
    for _ in range(8):
        same = Counter(frozenset(word for word, _ in ranked[j][:n]) for j, n in chosen.items())
        for j, n in chosen.items():
            if same[frozenset(word for word, _ in ranked[j][:n])] > 1 and n < len(ranked[j]):
                chosen[j] = n + 1
    return {j: [word for word, _ in ranked[j][:n]] for j, n in chosen.items()}


def evidence_labels(
    sae: SparseAutoencoder, texts: Sequence[str], encoder: Any, *, held_out: float = 0.2, seed: int = 0, verbose: bool = False
) -> FeatureLabels:
    """Labels for a dictionary from a sample of texts, with a score on texts that were not used for them.

    Costs what encoding the texts costs: the words' parts come from the forward pass that makes the vectors.

    Args:
        sae: the dictionary; encoder: a pyterrier_dr bi-encoder that averages its token vectors.
        texts: a sample of documents.
        held_out: the part of them that only the score is computed on.
        seed: of the split; verbose: show a progress bar.

    Returns:
        Labels as :meth:`EvidenceCounts.labels` makes them, with ``hits`` (the share of strong held-out texts that contain a
        word of the label), ``false`` (of those without the feature), ``detection``, (hits + 1 − false) / 2, and
        ``detection_low``, a lower bound of it at 95% (of the difference of two shares: Newcombe 1998, method 10, from Wilson's
        bounds); NaN where fewer than two held-out texts are strong.

    Raises:
        ValueError: fewer than 20 texts, or an encoder whose vector is no sum over its tokens.
    """
    import pyterrier as pt

    if len(texts) < MIN_TEXTS:
        raise ValueError(f"evidence_labels expects at least {MIN_TEXTS} texts, found {len(texts)}; a few hundred are better")
    reader = TokenEncoder(encoder)
    if not reader.exact:
        raise ValueError(f"evidence_labels expects an encoder that averages its token vectors, but {reader.why_leave_out}")
    order = np.random.default_rng(seed).permutation(len(texts))
    cut = int(held_out * len(texts))
    held, own = [texts[i] for i in order[:cut]], [texts[i] for i in order[cut:]]
    counts = EvidenceCounts(sae)
    vectors = [np.empty((0, sae.dim), np.float32)]
    with pt.tqdm(total=len(texts), desc="labels", unit="text", disable=not verbose) as bar:
        for rows, words in reader.batches(own):
            counts.add([own[i] for i in rows], words)
            bar.update(len(rows))
        for start in range(0, len(held), HELD_BATCH):
            some = held[start : start + HELD_BATCH]
            vectors.append(np.asarray(encoder.encode_docs(some), np.float32))
            bar.update(len(some))
    labels = counts.labels()
    table = labels.table.join(_detection(sae, labels, held, np.concatenate(vectors)))
    return FeatureLabels(table, sae.dict_size)


@torch.no_grad()
def _detection(sae: SparseAutoencoder, labels: FeatureLabels, texts: list[str], vectors: np.ndarray) -> pd.DataFrame:
    """How well the words of each label tell texts with the feature from others: as :func:`evidence_labels` returns it."""
    stems = [{stem(word) for word in _words(text)} for text in texts]
    n, columns = len(labels.table), ["hits", "false", "detection", "detection_low"]
    out = np.full((n, 4), np.nan)
    if texts:
        codes = sae.encode(torch.from_numpy(vectors).to(sae.w_enc.device))
        activations = codes.dense(sae.dict_size).cpu().numpy()
        for i, (j, label, largest) in enumerate(zip(*(labels.table[c] for c in ("feature", "label", "max_activation")))):
            own = {stem(word) for word in label.split(", ")}
            fits = np.array([not own.isdisjoint(words) for words in stems])
            strong, absent = activations[:, j] >= STRONG * largest, activations[:, j] == 0
            if strong.sum() >= FOR_DETECTION and absent.any():
                hits, false = fits[strong].mean(), fits[absent].mean()
                below = hits - _wilson(hits, int(strong.sum()), -1)
                above = _wilson(false, int(absent.sum()), 1) - false
                out[i] = hits, false, (hits + 1 - false) / 2, (hits + 1 - false - np.hypot(below, above)) / 2
    return pd.DataFrame(out, columns=columns)


def _wilson(share: float, n: int, sign: int) -> float:
    """Wilson's bound of a share of ``n``; sign: −1 for the lower, 1 for the upper one."""
    spread = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return float((share + _Z**2 / (2 * n) + sign * spread) / (1 + _Z**2 / n))


def _words(text: str) -> list[str]:
    return [text[a:b].lower() for a, b in spans(text, "word").tolist()]


def relabelled(
    sae: SparseAutoencoder, labels: FeatureLabels, corpus: Iterable[dict | str] | pd.DataFrame, encoder: Any, *, sample: int = 2000,
    min_detection: float = 0.6, seed: int = 0, verbose: bool = False,
) -> FeatureLabels:  # fmt: skip
    """The labels, with those that say little replaced by the words that carry the feature in a corpus.

    A feature is renamed if the known detection score of its label is below ``min_detection``, and the lower bound of its words'
    detection on held-out texts of this corpus (:func:`evidence_labels`) is at least that. One without a label gets its words in
    any case. The bound becomes the label's ``detection``, because the estimates of labels that were chosen are too good: by .04
    on other texts.

    Chance passes seldom. With 2,000 documents of the bundled collection, and the 400 held-out texts shuffled against their
    vectors, .11% of the features that have a score pass .6 by the bound (5.9% by the estimate). 37 features are renamed, where
    chance would rename .2; without the bound 136, where chance would rename 13 (``python benchmarks/relabel_chance.py``).

    Args:
        sae: the dictionary; labels: of its features; encoder: as in :func:`evidence_labels`.
        corpus: texts, or dicts (or a data frame) with ``text`` and perhaps ``title``; or the path of a corpus
            (:class:`.CorpusFile`); read once.
        sample: how many of them are looked at, drawn by ``seed``. A fifth is held out for the test: a larger sample renames rarer
            features too.
        min_detection: from which score on a label says enough.
        verbose: show a progress bar.

    Returns:
        All labels; those that are new have the method ``"words by evidence"``, ``hits``, ``false`` and ``detection`` (its lower
        bound), and vectors if the others have.

    Raises:
        ValueError: as :func:`evidence_labels`.
    """
    texts = _sampled(corpus, sample, np.random.default_rng(seed))
    found = evidence_labels(sae, texts, encoder, seed=seed, verbose=verbose).table.set_index("feature")
    known = labels.table.set_index("feature")
    found = found.drop(columns="detection").rename(columns={"detection_low": "detection"})
    old = known.get("detection", pd.Series(dtype=float)).reindex(found.index).astype(float)
    named = found.index.isin([j for j in known.index if labels.name(j)])
    better = found[~named | ((found["detection"] >= min_detection) & (old < min_detection))]
    kept = known.drop(index=better.index, errors="ignore")
    largest = known.get("max_activation", pd.Series(dtype=float)).reindex(better.index).astype(float)
    better = better.assign(max_activation=np.fmax(better["max_activation"], largest), clarity=np.nan)
    table = (
        pd.concat([kept, better[[c for c in better.columns if c in kept.columns or c != "clarity"]]]).sort_index().reset_index()
    )
    confidence = labels.confidence if labels.confidence is not None or len(labels) else UNJUDGED
    made = FeatureLabels(table, sae.dict_size, confidence, labels.vectors)
    return made if labels.vectors is None else made.encoded(encoder)


def _sampled(corpus: Iterable[dict | str] | pd.DataFrame, size: int, rng: np.random.Generator) -> list[str]:
    """At most ``size`` texts of a stream, each with the same chance."""
    kept: list[str] = []
    corpus = CorpusFile(corpus) if isinstance(corpus, (str, os.PathLike)) else corpus
    documents = corpus.to_dict("records") if isinstance(corpus, pd.DataFrame) else corpus
    for n, document in enumerate(documents):
        text = document if isinstance(document, str) else text_of(document)
        if text is None:
            raise no_text("relabel", f"document {docno_of(document, where='relabel') or n!r}", document.get("text"))
        if n < size:
            kept.append(text)
        elif (place := int(rng.integers(n + 1))) < size:
            kept[place] = text
    return kept
