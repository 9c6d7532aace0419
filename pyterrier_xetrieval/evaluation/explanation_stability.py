"""Does an explanation stay the same when the document hardly changes?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.checks import positive_int
from ..model import Xetrieval
from .collection import EmbeddedCollection
from .explained_pairs import ExplainedPairs, cosines, explain_pairs
from .pairs import Pairs, ranked_pairs
from .tidy_rows import TidyRows

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

COSINES = (0.999, 0.99, 0.95, 0.9)
MEASURES = ("cosine", "jaccard", "correlation")


def stability(
    model: Xetrieval,
    collection: EmbeddedCollection,
    *,
    encoder: BiEncoder | None = None,
    cosines_to_original: Sequence[float] = COSINES,
    word_share: float = 0.1,
    other_rank: int | None = None,
    num_results: int = 1,
    per_pair: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Compares explanations of ``⟨q,z⟩`` of each query's top results with those of slightly changed documents.

    Two kinds of change. ``noise``: a random direction is mixed into the embedding such that the unit vector's cosine
    to the original is exactly the one asked for. ``words``: one word in ten, drawn at random, is left out of the text
    and the text encoded again; both texts by ``encoder``, so that nothing but the words differs.
    ``documents``, the explanations of two documents of one query, is the floor: how alike explanations are when nothing
    stays the same but the query.

    Args:
        model: whose dictionary. Its views do not take part.
        collection: queries and documents.
        encoder: a pyterrier_dr encoder, such as ``model.encoder()``; without it, or without ``collection.texts``,
            ``words`` is left out.
        cosines_to_original: one ``noise`` row each.
        word_share: share of the words left out; at least one word, never all.
        other_rank: compare each query's best document with that of this rank, such as 2, as ``documents``; none unless
            given. Queries with fewer results, copies not counted, are left out.
        num_results: best documents of each query.
        per_pair: one row for each pair and change: ``qid``, ``docno``, ``change``, ``amount`` and the three measures.
        seed: of noise, words and bootstrap.

    Returns:
        ``collection``, ``change`` (``noise``, ``words``, ``documents``), ``amount`` (the cosine, the share of words,
        the rank), ``measure``, ``value``, ``low``, ``high``, ``n`` (pairs; intervals over queries). Measures:
        ``cosine`` of the two embeddings; ``jaccard`` of the two sets of shared features; ``correlation`` (Pearson) of
        contributions over the features that either lists, 0 where a feature is not listed. Jaccard is NaN, and left
        out, where both list nothing; the correlation where it is undefined.

    Raises:
        ValueError: a cosine outside (0, 1], a share outside (0, 1), a rank or number of results that is not positive.

    Example::

        encoder = model.encoder()
        stability(model, embed(pydocs(), encoder, cache="cache"), encoder=encoder)
    """
    if not all(0 < c <= 1 for c in cosines_to_original) or not 0 < word_share < 1:
        raise ValueError(
            f"stability expects cosines_to_original in (0, 1] and word_share in (0, 1), "
            f"found {list(cosines_to_original)} and {word_share}"
        )
    positive_int(num_results, "num_results", stage="stability")
    pairs, rng = ranked_pairs(collection, num_results=num_results), np.random.default_rng(seed)
    docs = np.unique(pairs.docs)
    original = np.array(collection.docs[docs], np.float32)

    def explained(of_pairs: Pairs, z: np.ndarray | None = None) -> ExplainedPairs:
        return explain_pairs(model.with_views(()), collection, of_pairs, z=z, refit=True)

    # change, amount, the documents before, and after
    changes = [("noise", float(c), original, add_noise(original, c, rng)) for c in cosines_to_original]
    if encoder is not None and collection.texts is not None:
        texts = collection.read_texts(docs, stage="stability")
        fewer = [drop_words(text, word_share, rng) for text in texts]
        before, after = (np.asarray(encoder.encode_docs(t), np.float32) for t in (texts, fewer))
        changes.append(("words", word_share, before, after))
    frames = [
        _compared(pairs.ids(collection), change, amount, explained(pairs, before), explained(pairs, after))
        for change, amount, before, after in changes
    ]
    if other_rank is not None:
        best, other = _two_documents(collection, positive_int(other_rank, "other_rank", stage="stability"))
        frames.append(_compared(best.ids(collection), "documents", float(other_rank), explained(best), explained(other)))
    frame = pd.concat(frames, ignore_index=True)
    if per_pair:
        return frame
    rows = TidyRows(seed, collection=collection.name)
    for (change, amount), group in frame.groupby(["change", "amount"], sort=False):
        for measure in MEASURES:
            rows.mean(measure, group[measure], clusters=group["qid"], change=change, amount=amount)
    return rows.frame("change", "amount")


def _compared(ids: pd.DataFrame, change: str, amount: float, before: ExplainedPairs, after: ExplainedPairs) -> pd.DataFrame:
    """A row for each pair with the three measures."""
    return ids.assign(change=change, amount=amount, cosine=cosines(before.z, after.z), **_agreement(before, after))


def _two_documents(collection: EmbeddedCollection, rank: int) -> tuple[Pairs, Pairs]:
    """Each query with its best document, and with that of ``rank`` among its results without copies, if it has one."""
    pairs = ranked_pairs(collection, num_results=2 * rank)
    first = np.unique(pairs.queries, return_index=True)[1]
    enough = np.diff([*first, len(pairs)]) >= rank
    return pairs[first[enough]], pairs[first[enough] + rank - 1]


def add_noise(x: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """Rows of the same lengths as those of ``x`` and the given cosine to them, else in random directions; float32."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    noise = rng.normal(size=x.shape)
    noise -= x * ((noise * x).sum(axis=1, keepdims=True) / np.maximum(norms, 1e-30) ** 2)
    noise *= norms / np.linalg.norm(noise, axis=1, keepdims=True)
    return (cosine * x + np.sqrt(1 - cosine**2) * noise).astype(np.float32)


def drop_words(text: str, share: float, rng: np.random.Generator) -> str:
    """The text without a random ``share`` of its words, at least one of them; a text of one word stays."""
    words = text.split()
    count = min(max(1, round(share * len(words))), len(words) - 1)
    if count < 1:
        return text
    return " ".join(np.delete(np.array(words, dtype=object), rng.choice(len(words), count, replace=False)))


def _agreement(before: ExplainedPairs, after: ExplainedPairs) -> dict[str, np.ndarray]:
    """Jaccard and Pearson correlation of two explanations of each pair, float64 ``[n]`` each."""
    n = len(before.q)
    listed = [
        pd.DataFrame({"pair": e.owner, "feature": e.parts.features, "part": e.parts.contribution.astype(np.float64)})
        for e in (before, after)
    ]
    union = listed[0].merge(listed[1], on=["pair", "feature"], how="outer", indicator=True)
    pair = union["pair"].to_numpy()
    x, y = (union[c].fillna(0.0).to_numpy() for c in ("part_x", "part_y"))

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(pair, weights=values, minlength=n)

    size = np.bincount(pair, minlength=n)
    both = total((union["_merge"] == "both").to_numpy(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):  # no feature, or no variance: NaN
        x, y = (v - (total(v) / size)[pair] for v in (x, y))
        return {"jaccard": both / size, "correlation": total(x * y) / np.sqrt(total(x * x) * total(y * y))}
