"""Does a retriever prefer something that has nothing to do with relevance? Matched pairs, and the features that carry it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyterrier as pt

from ..core.checks import found_type
from ..explanation import Explanation
from ..explanation_tables import BIAS, OTHER, RESIDUAL, SHARED
from ..feature_names import reading
from .significance import SIGNIFICANT, holm

MIN_QUERIES = 6  # of five that all agree, a sign test has p = .06: fewer can tell nothing, and would weaken the correction
FOR_INTERVAL = 3  # queries: two that happen to agree would have an interval without width
_LISTED = 8  # features that are printed


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit found; printed, the difference and the features that carry it.

    Attributes:
        pairs: a row for each pair: its columns, ``score_a``, ``score_b`` and ``difference`` (b − a).
        parts: what the mean difference is made of: ``part`` (``"shared feature"``, and in the last three rows ``"other
            features"``, ``"bias"`` and ``"not explained by the dictionary"``), ``feature`` (Int64), ``label``, ``a`` and ``b``
            (mean contributions; 0 where the feature is not shared), ``value`` (b − a) with its 95% interval ``low`` and ``high``
            (NaN with fewer than three queries), ``p`` (NaN with fewer than six), ``p_holm`` (corrected over the features; NaN
            for the three others and for features that differ in fewer than six queries), ``pairs`` (in how many it differs) and
            ``words``. ``value`` adds up to the mean difference. Features are in order of its size.
    """

    pairs: pd.DataFrame
    parts: pd.DataFrame

    @property
    def difference(self) -> dict[str, float]:
        """The mean of score b − score a: ``value``, its 95% interval ``low`` and ``high``, ``p``, and ``n`` pairs.

        The interval is NaN with fewer than three queries, and ``p`` with fewer than six.
        """
        values = self.pairs["difference"].to_numpy()[:, None]
        return {name: float(column[0]) for name, column in _t_test(values, self.pairs["qid"]).items()} | {"n": len(self.pairs)}

    @property
    def signs(self) -> dict[str, int]:
        """In how many pairs b scores ``higher``, ``lower`` and ``equal``, and how many ``flips`` go against the mean."""
        signs = np.sign(self.pairs["difference"].to_numpy())
        mean = np.sign(self.pairs["difference"].mean())
        counts = {name: int((signs == sign).sum()) for name, sign in (("higher", 1), ("lower", -1), ("equal", 0))}
        return counts | {"flips": int((signs * mean < 0).sum())}

    @property
    def carriers(self) -> pd.DataFrame:
        """The rows of :attr:`parts` that are features whose difference is more than chance (``p_holm`` below .05)."""
        return self.parts[self.parts["p_holm"] < SIGNIFICANT]

    def __str__(self) -> str:
        d, signs, queries = self.difference, self.signs, self.pairs["qid"].nunique()
        lines = [
            f"text_b − text_a: {_number(d['value'], d['low'], d['high'])} over {d['n']} pairs of {queries} queries; "
            f"text_a has {self.pairs['score_a'].mean():.4f} on average",
            f"text_b scores higher in {signs['higher']}, lower in {signs['lower']}, equal in {signs['equal']} pairs; "
            f"{signs['flips']} go against the mean",
        ]
        if queries < FOR_INTERVAL:
            lines.append(f"too few pairs for an interval, which needs {FOR_INTERVAL} queries; a test needs {MIN_QUERIES}")
        features, tested = self.parts["part"] == SHARED, int(self.parts["p_holm"].notna().sum())
        if tested:
            shown, mark = self.carriers.head(_LISTED), ""
            lines.append(f"{len(self.carriers)} of {tested} features that were tested differ (Holm, p < .05)")
        else:
            shown, mark = self.parts[features & (self.parts["pairs"] > 0)].head(_LISTED), ", not significant"
            lines.append(f"no feature was tested, because none differs in {MIN_QUERIES} queries; the largest, not significant:")
        for row in shown.itertuples():
            words = f" ({', '.join(f'“{word}”' for word in row.words)})" if row.words else ""
            name = row.label if row.label == f"feature {row.feature}" else f"{row.label} [{row.feature}]"
            lines.append(f"  {_number(row.value, row.low, row.high)}  {name}{words}, in {row.pairs} pairs{mark}")
        further = self.parts[features].drop(shown.index)
        lines.append(f"  {further['value'].sum():+.4f}  {len(further)} further features")
        lines += [f"  {_number(row.value, row.low, row.high)}  {row.part}" for row in self.parts[~features].itertuples()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        d = self.difference
        return f"Audit({_number(d['value'], d['low'], d['high'])} over {d['n']} pairs, {len(self.carriers)} features)"


def _number(value: float, low: float, high: float) -> str:
    """A difference with its interval, if it has one."""
    return f"{value:+.4f}" if np.isnan(low) else f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


def audit(pipeline: pt.Transformer, pairs: pd.DataFrame) -> Audit:
    """Compares the scores of texts that differ in one thing alone, and says which features carry the difference.

    A retriever that ranks a text higher for its length, its spelling or a page's footer has a preference that has nothing
    to do with relevance. Both texts of a pair go through the pipeline, and their explanations are compared part by part: the
    mean difference of the score is the sum of the mean differences of all contributions, other features, bias and residual.

    Intervals and p values are of t-tests over queries: pairs of one query count as one observation of the mean over pairs. With
    fewer than three queries there are no intervals, with fewer than six no p values. An audit is as good as its pairs: run it
    on a placebo too, pairs whose texts are changed in the same manner (:func:`~pyterrier_xetrieval.evaluation.length_pairs`
    and the others make them with ``placebo=True``). It should show no difference.

    Args:
        pipeline: explains rows of ``qid``, ``query``, ``docno`` and ``text`` (column ``explanation``). What is compared is the
            score that it explains. With ``model.evidence()`` at its end, features have words.
        pairs: ``query``, ``text_a``, ``text_b`` (str), and perhaps ``qid``. Pairs with one ``qid`` (without it, with one query)
            count as one sample in the test.

    Returns:
        An :class:`~pyterrier_xetrieval.evaluation.Audit`.

    Raises:
        ValueError: columns that are missing, no pairs; rows that the pipeline left out or did not explain, or that it ranks
            by another score than the one it explains.

    Example::

        encoder = model.encoder()
        pipeline = encoder.query_encoder() >> encoder.doc_encoder() >> model.explainer() >> model.evidence()
        print(audit(pipeline, length_pairs(rows)))
        print(audit(pipeline, length_pairs(rows, placebo=True)))
    """
    pt.validate.columns(pairs, includes=["query", "text_a", "text_b"])
    if not len(pairs):
        raise ValueError("audit expects pairs, found none; texts that a generator of pairs does not change are left out")
    pairs = pairs.reset_index(drop=True)
    if "qid" not in pairs.columns:
        pairs.insert(0, "qid", pd.factorize(pairs["query"])[0].astype(str))
    a, b = _explained(pipeline, pairs)
    scores = {f"score_{side}": np.array([e.score for e in own]) for side, own in (("a", a), ("b", b))}
    found = pairs.assign(**scores, difference=scores["score_b"] - scores["score_a"])
    return Audit(found, pd.concat([_features(a, b, pairs["qid"]), _rest(a, b, pairs["qid"])], ignore_index=True))


def _explained(pipeline: pt.Transformer, pairs: pd.DataFrame) -> list[list[Explanation]]:
    """The explanations of both texts of every pair, in the order of the pairs."""
    sides = [
        pairs[["qid", "query"]].assign(docno=[f"{i}{side}" for i in pairs.index], text=pairs[f"text_{side}"]) for side in "ab"
    ]
    out = pipeline.transform(pd.concat(sides, ignore_index=True))
    pt.validate.columns(out, includes=["docno", "explanation"])
    found = dict(zip(out["docno"].tolist(), out["explanation"].tolist()))
    wanted = [own["docno"].tolist() for own in sides]
    for docno in [*wanted[0], *wanted[1]]:
        e = found.get(docno)
        if not isinstance(e, Explanation):
            text = "no such row" if docno not in found else found_type(e)
            raise ValueError(f"audit expects an Explanation of each text, found {text} for text_{docno[-1]} of pair {docno[:-1]}")
        if e.ranking is not None:
            raise ValueError(
                f"audit expects a pipeline that explains the score it ranks by, found the scores {e.ranking.score:.4f} and "
                f"{e.score:.4f} (explained) for text_{docno[-1]} of pair {docno[:-1]}; take the other scorer out of the pipeline"
            )
    return [[found[docno] for docno in own] for own in wanted]


def _features(a: list[Explanation], b: list[Explanation], qids: pd.Series) -> pd.DataFrame:
    """The rows of the shared features."""
    ids = np.unique(np.concatenate([e.features for e in (*a, *b)]))
    here, there = (_contributions(own, ids) for own in (a, b))
    differences = there - here
    queries = [qids[column != 0].nunique() for column in differences.T]
    tested = _t_test(differences, qids)
    enough = (np.array(queries, np.int64) >= MIN_QUERIES) & ~np.isnan(tested["p"])
    corrected = np.full(len(ids), np.nan)
    if enough.any():
        corrected[enough] = holm(tested["p"][enough])
    labels = {j: e.labels[j] for e in (*a, *b) for j in e.features.tolist()}
    words = _words(a, b)
    table = pd.DataFrame({
        "part": SHARED, "feature": ids, "label": [reading(labels[j], words.get(j, ())) for j in ids.tolist()], "a": here.mean(axis=0),
        "b": there.mean(axis=0), **tested, "p_holm": corrected, "pairs": (differences != 0).sum(axis=0),
        "words": [words.get(j, ()) for j in ids.tolist()],
    })  # fmt: skip
    return table.astype({"feature": "Int64"}).sort_values("value", key=abs, ascending=False, kind="stable")


def _rest(a: list[Explanation], b: list[Explanation], qids: pd.Series) -> pd.DataFrame:
    """The rows of what is no shared feature."""
    here, there = (np.array([(e.other, e.bias, e.residual) for e in own], np.float64) for own in (a, b))
    table = pd.DataFrame({
        "part": [OTHER, BIAS, RESIDUAL], "feature": pd.NA, "label": None, "a": here.mean(axis=0), "b": there.mean(axis=0),
        **_t_test(there - here, qids), "p_holm": np.nan, "pairs": (there != here).sum(axis=0), "words": [()] * 3,
    })  # fmt: skip
    return table.astype({"feature": "Int64"})


def _contributions(explained: list[Explanation], ids: np.ndarray) -> np.ndarray:
    """What each of these features contributes to each score, float64 ``[n, f]``; 0 where it is not shared."""
    out = np.zeros((len(explained), len(ids)))
    for row, e in zip(out, explained):
        row[np.searchsorted(ids, e.features)] = e.contributions
    return out


def _words(a: list[Explanation], b: list[Explanation]) -> dict[int, tuple[str, ...]]:
    """The three phrases that carry each feature in most pairs, in the text that has more of it; none without evidence."""
    seen: dict[int, Counter[str]] = {}
    for pair in zip(a, b):
        texts: dict[int, tuple[float, set[str]]] = {}
        for e in pair:
            for i, (j, contribution) in enumerate(zip(e.features.tolist(), e.contributions.tolist())):
                own = {word.casefold() for word in e.words(i).get("document_words", ())}
                known = texts.get(j)
                if known is None or contribution > known[0]:
                    texts[j] = contribution, own
                elif contribution == known[0]:
                    known[1].update(own)
        for j, (_, own) in texts.items():
            seen.setdefault(j, Counter()).update(sorted(own))
    return {j: tuple(word for word, _ in counter.most_common(3)) for j, counter in seen.items()}


def _t_test(values: np.ndarray, qids: pd.Series) -> dict[str, np.ndarray]:
    """Means over pairs, float64 ``[n, f]``, with 95% intervals and p of their being 0; the pairs of a query are one sample.

    The mean is a ratio of sums over queries, Σ_c s_c / Σ_c n_c. Its standard error is the linearised one, of the residuals
    s_c − n_c · mean (Cochran 1977, section 6.3), and t has Σn² / Σ(n²) − 1 degrees of freedom: the number of queries less one
    where all have as many pairs, fewer where few queries have most of them. (In simulations of 6 to 40 normal queries, of which
    a few have 10 to 20 times as many pairs as the others, 0 to 12% of the intervals leave the true mean out; with the number
    of queries less one it would be 8 to 47%.)

    Fewer than three queries have no interval, and fewer than six no p. Where all is 0 the interval is 0, and p is 1. Where queries
    differ all by the same amount there is no spread to compare with, and p is that of a sign test.
    """
    from scipy import stats  # takes a second to import

    codes, names = pd.factorize(qids)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    n, clusters, value = len(values), len(names), values.mean(axis=0)
    low, high, p = np.full((3, len(value)), np.nan)
    if clusters >= FOR_INTERVAL:
        counts = np.bincount(codes)
        residuals = sums - counts[:, None] * value
        error = np.sqrt(clusters / (clusters - 1) * (residuals**2).sum(axis=0)) / n
        freedom = n**2 / (counts**2).sum() - 1
        half = stats.t.ppf(0.975, freedom) * error
        low, high = value - half, value + half
        if clusters >= MIN_QUERIES:
            spread = error > 1e-12 * np.abs(value)  # less is rounding
            t = np.divide(np.abs(value), error, out=np.zeros_like(error), where=spread)
            p = np.where(spread, 2 * stats.t.sf(t, freedom), np.where(value == 0, 1.0, 2 * 0.5**clusters))
    return {"value": value, "low": low, "high": high, "p": p}
