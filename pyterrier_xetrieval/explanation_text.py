"""An explanation in words: on one line, in one sentence, and part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .explanation_tables import BIAS, OTHER, RESIDUAL

if TYPE_CHECKING:
    from .explanation import Explanation
    from .explanation_rows import ShownFeature

WEAK = "weakly shared features"


def one_line(e: Explanation) -> str:
    """``ordering .10 · lists .07 · +30``: three features, and how many more are shared."""
    main = (e.above_mean or e).rows[:3]
    parts = [f"{shortened(row.label, 40)} {_two_decimals(row.contribution)}" for row in main]
    if not parts:
        return f"{len(e)} {WEAK}" if len(e) else "no shared features"
    return " · ".join([*parts, f"+{len(e) - len(main)}"] if len(e) > len(main) else parts)


def sentence(e: Explanation) -> str:
    """See :meth:`Explanation.sentence`."""
    main = e.rows[:2]
    names = " and ".join(row.in_sentence() for row in main)
    sure = any(not row.confidence < e.min_confidence for row in main)
    for_what = f"{'mainly' if sure else 'perhaps'} for {names}" if main else "for features whose labels may not fit these texts"
    told = f"Retrieved {for_what}. {_shares(e)}" if len(e) else "Retrieved for nothing that the dictionary finds in both texts."
    return told if e.ranking is None else f"{told} {e.ranking.sentence(e.score)}"


def baseline_name(e: Explanation) -> str:
    """What the score is measured against."""
    return "a document without features" if not e.baseline_documents else "the mean document"


def _shares(e: Explanation) -> str:
    """``The 3 features shown carry 62 % of the score, 21 weakly shared ones 23 %.``

    Where there is a baseline: ``… of what the score (0.897) has above the mean document's (0.781), …``.
    """
    of_score = "of the score" if e.score > 0 else f"of the score, which is {e.score:.3f}"
    if e.baseline is not None:
        side = "has above" if e.score > e.baseline else "lacks of"
        of_score = f"of what the score ({e.score:.3f}) {side} that of {baseline_name(e)} ({e.baseline:.3f})"
        e = e.above_mean or e
    shown, (weak, weak_part) = len(e) - e.weakly_shared[0], e.weakly_shared
    # a share of a score that is not above 0 says nothing
    carried, weakly = (f"{100 * x / e.score:.0f} %" if e.score > 0 else f"{x:.3f}" for x in (e.shared - weak_part, weak_part))
    if not shown:
        return f"{_the(weak, 'weakly shared feature')} {weakly} {of_score}."
    told = f"{_the(shown, 'feature shown')} {carried} {of_score}"
    return f"{told}, {weak} weakly shared {'one' if weak == 1 else 'ones'} {weakly}." if weak else f"{told}."


def _the(n: int, thing: str) -> str:
    noun, space, rest = thing.partition(" shown")
    return f"The {noun}{space}{rest} carries" if n == 1 else f"The {n} {noun}s{space}{rest} carry"


class ScorePart(NamedTuple):
    """A part of a score, as text, card and figure list them.

    Attributes:
        kind: ``"feature"``, ``"more"`` (all features that are not spelt out), ``"weak"``, ``"other"``, ``"bias"`` or
            ``"residual"``.
        name: what it is called.
        value: the part.
        row: of a feature; None for all else.
    """

    kind: str
    name: str
    value: float
    row: ShownFeature | None = None


def score_parts(e: Explanation, most: int) -> list[ScorePart]:
    """The parts that add up to the score, in the order of every printed form; ``most`` features are spelt out."""
    rows, (weak, weak_part) = e.rows, e.weakly_shared
    parts = [ScorePart("feature", row.with_id(), row.contribution, row) for row in rows[:most]]
    if more := rows[most:]:
        parts.append(ScorePart("more", f"{len(more)} more shared features", float(np.sum([row.contribution for row in more]))))
    if weak:
        parts.append(ScorePart("weak", f"{weak} {WEAK}", weak_part))
    rest = ScorePart("other", OTHER, e.other), ScorePart("bias", BIAS, e.bias), ScorePart("residual", RESIDUAL, e.residual)
    return [*parts, *rest]


def lines(e: Explanation) -> list[tuple[str, float]]:
    """See :meth:`Explanation.lines`."""
    return [(part.name, part.value) for part in score_parts(e, e.top)]


def full_text(e: Explanation) -> str:
    """See :meth:`Explanation.to_text`."""
    told = [f"score {e.score:.4f} of document {e.docno} for query {e.qid}, from views {', '.join(e.views)}"]
    if (above := e.above_mean) is None:
        told += [f"  {value:+.4f}  {name}" for name, value in lines(e)]
    else:
        told[0] += f"; in brackets what it has above that of {baseline_name(e)}, {e.baseline:.4f}: {above.score:+.4f}"
        told += [f"  {v:+.4f} ({own:+.4f})  {name}" for (name, v), (_, own) in zip(lines(e), lines(above))]
    told += [f"  {more}" for more in (change_sentence(e), e.ranking and e.ranking.sentence(e.score)) if more]
    return "\n".join(told)


def change_sentence(e: Explanation) -> str | None:
    """What a change of the query did to the score; None if nothing changed the query.

    ``The changed query has a score of 0.451, the encoder's 0.430: *beer and brewing* -0.031, …``
    """
    if (before := e.before) is None:
        return None
    told = f"The changed query has a score of {e.score:.3f}, the encoder's {before.score:.3f}"
    features = ", ".join(f"*{row.label}* {change:+.3f}" for row, change in changed_rows(e))
    return f"{told}: {features}." if features else f"{told}."


def changed_rows(e: Explanation) -> list[tuple[ShownFeature, float]]:
    """The features whose contributions a change of the query moved most, three at most, and by how much."""
    largest = np.argsort(-np.abs(e.changes), kind="stable")[:3].tolist()
    # less shows as nothing with three decimals
    return [(e.row(i), float(e.changes[i])) for i in largest if abs(e.changes[i]) >= 0.0005]


def shortened(label: str, most: int) -> str:
    """A label of at most ``most`` characters, cut between words where there are several.

    Example::

        >>> shortened("sorting or ordering data", 20)
        'sorting or ordering…'
    """
    if len(label) <= most:
        return label
    kept = label[:most]  # one more than there is room for: a space there ends a word
    return f"{(kept.rpartition(' ')[0] or kept[:-1]).rstrip(' ,;:')}…"


def _two_decimals(value: float) -> str:
    digits = f"{abs(value):.2f}".removeprefix("0")
    return f"-{digits}" if value < 0 and digits != ".00" else digits
