"""Do the words that an explanation names carry the feature? They are taken out of the text, or nothing else is left in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.checks import positive_ints
from ..core.evidence import WordVectors
from ..model import Xetrieval
from ..token_vectors import TokenEncoder
from .collection import EmbeddedCollection
from .pairs import cut, drawn_with_best, texts_of
from .tidy_rows import TidyRows
from .word_attributions import alone, each_left_out, gradient_times_input, without

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

EVIDENCE, PRINTED, LEAVE_OUT, GRADIENT, RANDOM = "evidence", "explanation", "leave_out", "gradient", "random"
METHODS = (EVIDENCE, PRINTED, LEAVE_OUT, GRADIENT, RANDOM)
MEASURES = ("deletion", "insertion")
ALL = "all"
FEWEST_WORDS = 10  # a tenth of fewer is less than one word
_DRAWS = 5  # of random words for each pair


@dataclass(frozen=True)
class _Pair:
    """A text, one of the features that its explanation shows, and what each of its words contributed to the explanation.

    ``spoken`` are the places of the words with a letter or digit among all of ``words``: no method may take a comma.
    """

    ids: tuple[str, str]
    text: str
    feature: int
    words: WordVectors
    spoken: np.ndarray
    printed: np.ndarray

    @property
    def spans(self) -> np.ndarray:
        return self.words.spans[self.spoken]


def word_faithfulness(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    encoder: BiEncoder | None = None,
    n_docs: int = 12,
    max_words: int = 120,
    word_share: float = 0.1,
    per_pair: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Takes the words with the largest shares of a feature out of a text, and then keeps nothing but these words.

    Queries are drawn at random; each gives its best document (every document once, cut after ``max_words`` words), and
    this one of the features that the explanation of the two shows. The text is encoded again without the words, and
    with them alone. ``deletion`` is by how much the feature's pre-activation falls, ``insertion`` how much of it remains,
    both relative to the pre-activation in the whole text. This is the value before ReLU and the choice of the k largest: it may
    be negative, so that a deletion may be above 1. Faithful words have large values of both.

    The words are chosen by:

    - ``evidence``: their exact shares of the pre-activation, from the forward pass that encodes the text;
    - ``explanation``: their shares of the contribution, which explanations print; it is of the refitted coefficient;
    - ``leave_out``: by how much the pre-activation falls without the one word, from as many passes as there are words;
    - ``gradient``: gradient × input of the pre-activation, from a forward and a backward pass;
    - ``random``: nothing, the mean of five draws.

    Args:
        model: whose dictionary and labels. Its views do not take part.
        collection: with texts of documents and queries.
        encoder: of the collection's vectors; None for the model's own. It must average its token vectors.
        n_docs: texts; fewer where fewer have ten words or more, a shown feature, and are read to their end.
        max_words: at which a document is cut.
        word_share: how many of a text's words are chosen, one at least.
        per_pair: one row for each text and method: ``collection``, ``qid``, ``docno``, ``feature``, ``words`` (in the
            text), ``method`` and the two measures.
        seed: of queries, features, random words and bootstrap.

    Returns:
        ``collection``, ``method``, ``measure``, ``value``, ``low``, ``high`` (95% bootstrap interval over texts), ``n``
        (texts). Measures: ``deletion``, ``insertion``, and, of every method but ``evidence``,
        ``deletion_difference`` and ``insertion_difference``: of ``evidence`` less this method, text by text.

    Raises:
        ValueError: no texts; an encoder whose vector is no sum over its tokens; no text that will do; a number out of range.

    Example::

        encoder = model.encoder()
        word_faithfulness(model, embed(pydocs(), encoder, cache="cache"), encoder=encoder)
    """
    positive_ints(stage="word_faithfulness", n_docs=n_docs, max_words=max_words)
    if not 0 < word_share < 1:
        raise ValueError(f"word_faithfulness expects word_share in (0, 1), found {word_share}")
    encoder, model, rng = encoder or model.encoder(), model.with_views(()), np.random.default_rng(seed)
    reader = TokenEncoder(encoder)
    if not reader.exact:
        raise ValueError(f"word_faithfulness expects an encoder that averages its token vectors, but {reader.why_leave_out}")
    pairs = _pairs(model, collection, encoder, reader, n_docs, max_words, rng)
    whole, shares = _shares(model, pairs, encoder, reader)
    chosen = [
        [[order[: max(1, round(word_share * len(order)))] for order in orders] for orders in _orders(own, rng)] for own in shares
    ]
    variants = [
        change(pair.text, pair.spans[np.sort(words)])
        for pair, methods in zip(pairs, chosen)
        for draws in methods
        for words in draws
        for change in (without, alone)
    ]
    rows, found = [], iter(_vectors(encoder, variants))
    for pair, methods, before in zip(pairs, chosen, whole):
        for method, draws in zip(METHODS, methods):
            after = np.array([[_reads(model, pair.feature, next(found)) for _ in MEASURES] for _ in draws]).mean(axis=0) / before
            ids = [collection.name, *pair.ids, pair.feature, len(pair.spoken), method]
            rows.append([*ids, 1 - after[0], after[1]])
    frame = pd.DataFrame(rows, columns=["collection", "qid", "docno", "feature", "words", "method", *MEASURES])
    return frame if per_pair else word_faithfulness_scores(frame, seed=seed)


def word_faithfulness_scores(pairs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The table of :func:`word_faithfulness` from its rows by text, also of several collections together.

    Args:
        pairs: what ``word_faithfulness(…, per_pair=True)`` returns, of one collection or of several, one below the other.
        seed: of the bootstrap.

    Returns:
        As :func:`word_faithfulness`; several collections also together, as ``all``.
    """
    rows, names = TidyRows(seed), list(dict.fromkeys(pairs["collection"]))
    for name in [ALL, *names] if len(names) > 1 else names:
        own = pairs if name == ALL else pairs[pairs["collection"] == name]
        table = own.pivot(index=["collection", "docno", "feature"], columns="method", values=list(MEASURES))
        for method in METHODS:
            for measure in MEASURES:
                rows.mean(measure, table[measure, method], collection=name, method=method)
                if method != EVIDENCE:
                    apart = table[measure, EVIDENCE] - table[measure, method]
                    rows.mean(f"{measure}_difference", apart, collection=name, method=method)
    return rows.frame("collection", "method")


def _pairs(
    model: Xetrieval, collection: EmbeddedCollection, encoder: BiEncoder, reader: TokenEncoder, n: int, max_words: int,
    rng: np.random.Generator,
) -> list[_Pair]:  # fmt: skip
    """``n`` texts with a shown feature each, in the order in which their queries are drawn."""
    texts, query_texts = texts_of(collection)
    order, best = drawn_with_best(collection, rng)
    first = np.sort(np.unique(best, return_index=True)[1])  # every document once
    places = [(int(order[i]), int(best[i])) for i in first if best[i] >= 0]
    found: list[_Pair] = []
    for start in range(0, len(places), n):
        own = places[start : start + n]
        frame = pd.DataFrame({
            "qid": [str(collection.qids[q]) for q, _ in own], "docno": [str(collection.docnos[d]) for _, d in own],
            "query": [str(query_texts[q]) for q, _ in own],
            encoder.text_field: [cut(text, max_words)[0] for text in texts([d for _, d in own])],
        })  # fmt: skip
        found += _shown(model, frame, encoder, reader, rng)
        if len(found) >= n:
            break
    if not found:
        raise ValueError(
            f"word_faithfulness expects documents of {FEWEST_WORDS} words or more with a shown feature, which the encoder "
            f"reads to their end, found none in {collection.name!r}; does the model have labels, is max_words too large?"
        )
    return found[:n]


def _shown(
    model: Xetrieval, frame: pd.DataFrame, encoder: BiEncoder, reader: TokenEncoder, rng: np.random.Generator
) -> list[_Pair]:
    """A pair of each row of the frame whose text will do and whose explanation shows a feature."""
    texts = frame[encoder.text_field].tolist()
    frame = frame.assign(
        query_vec=list(encoder.encode_queries(frame["query"].tolist())), doc_vec=list(encoder.encode_docs(texts))
    )
    explained = (model.explainer() >> model.evidence(encoder)).transform(frame)["explanation"]
    found = []
    for qid, docno, text, words, explanation in zip(frame["qid"], frame["docno"], texts, reader.words(texts), explained):
        spoken = np.flatnonzero([any(map(str.isalnum, text[a:b])) for a, b in words.spans.tolist()])
        rows = [row for row in explanation.rows if row.contribution > 0]
        if words.stopped_at is not None or len(spoken) < FEWEST_WORDS or not rows:
            continue
        row = rows[rng.integers(len(rows))]
        place = explanation.features.tolist().index(row.feature)
        table = explanation.evidence.tables.document
        found.append(_Pair((qid, docno), text, row.feature, words, spoken, table.words[place][spoken]))
    return found


def _shares(
    model: Xetrieval, pairs: list[_Pair], encoder: BiEncoder, reader: TokenEncoder
) -> tuple[list[float], list[list[np.ndarray]]]:
    """The pre-activation of each pair's whole text, and its words' shares by each method but the random one."""
    variants = [[pair.text, *each_left_out(pair.text, pair.spans)] for pair in pairs]
    vectors = np.split(
        _vectors(encoder, [text for own in variants for text in own]), np.cumsum([len(own) for own in variants])[:-1]
    )
    whole, shares = [], []
    for pair, own in zip(pairs, vectors):
        row = model.sae.w_enc[pair.feature].detach().cpu().numpy()
        reads = np.array([_reads(model, pair.feature, vector) for vector in own])
        whole.append(float(reads[0]))
        exact = pair.words.rows[pair.spoken] @ row
        shares.append([exact, pair.printed, reads[0] - reads[1:], gradient_times_input(reader, pair.text, row)[pair.spoken]])
    return whole, shares


def _orders(shares: list[np.ndarray], rng: np.random.Generator) -> list[list[np.ndarray]]:
    """For each of :data:`METHODS` the words in order, largest share first; several times for random words."""
    known = [[np.argsort(-own, kind="stable")] for own in shares]
    return [*known, [rng.permutation(len(shares[0])) for _ in range(_DRAWS)]]


def _vectors(encoder: BiEncoder, texts: list[str]) -> np.ndarray:
    return np.asarray(encoder.encode_docs(texts), np.float32)


def _reads(model: Xetrieval, feature: int, vector: np.ndarray) -> float:
    """The pre-activation ``⟨w_e, z − b⟩ + b_e`` of one feature, before ReLU and the choice of the k largest."""
    sae = model.sae
    row, b_dec, b_enc = (part.detach().cpu().double().numpy() for part in (sae.w_enc[feature], sae.b_dec, sae.b_enc[feature]))
    return float(row @ (vector.astype(np.float64) - b_dec) + b_enc)
