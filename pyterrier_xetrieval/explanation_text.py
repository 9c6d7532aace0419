"""An explanation in words: on one line, in one sentence, and part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .explanation_tables import BIAS, OTHER, RESIDUAL

if TYPE_CHECKING:
    from .explanation import Explanation
    from .explanation_rows import ShownFeature

WEAK = "weakly shared features"
_MANY = 2.0  # times the score: shares of a score that is small beside its parts say nothing


def one_line(e: Explanation) -> str:
    """``ordering .10 · lists .07 · +30``: three features, and how many more are shared."""
    main = (e.above_mean or e).rows[:3]
    parts = [f"{shortened(row.label, 40)} {_two_decimals(row.contribution)}" for row in main]
    if not parts:
        return f"{len(e)} {WEAK}" if len(e) else "no shared features"
    return " · ".join([*parts, f"+{len(e) - len(main)}"] if len(e) > len(main) else parts)


def sentence(e: Explanation) -> str:
    """See :meth:`Explanation.sentence`."""
    return " ".join(filter(None, [main_sentence(e), _unread(e)]))


def main_sentence(e: Explanation) -> str:
    """:func:`sentence` for a reader who sees how far the encoder has read."""
    told = (
        f"Retrieved {_reasons(e)}. {_shares(e)}" if len(e) else "Retrieved for nothing that the dictionary finds in both texts."
    )
    return told if e.ranking is None else f"{told} {e.ranking.sentence(e.score)}"


def _reasons(e: Explanation) -> str:
    """``mainly for *ordering* (“sort” ↔ “sorted”) and *lists* (“list”)``, and how sure that is."""
    own, main = e.above_mean or e, e.rows[:2]
    counts = dict(zip(own.features.tolist(), own.contributions.tolist()))
    for_it = [row for row in main if counts[row.feature] > 0]
    if not for_it:
        return "for no feature that is shown" if main else "for features whose labels may not fit these texts"
    if not any(not row.confidence < e.min_confidence for row in for_it):
        how = "perhaps"
    else:
        weak = own.weakly_shared[1]
        how = "mainly" if own.shared - weak >= max(weak, own.score - own.shared) else "partly"
    return f"{how} for {' and '.join(row.in_sentence() for row in for_it)}"


def _unread(e: Explanation) -> str | None:
    """That the encoder did not read all of the document; None where it did, or where nobody looked for words."""
    if e.evidence is None or e.evidence.stopped_at is None:
        return None
    return f"The encoder did not read the last {len(e.evidence.document) - e.evidence.stopped_at:,} characters of the document."


def baseline_name(e: Explanation) -> str:
    """What the score is measured against."""
    return "a document without features" if not e.baseline_documents else "the mean document"


def _shares(e: Explanation) -> str:
    """``The 3 features shown carry 62 % of the score, 21 weakly shared ones 23 %.``

    Where there is a baseline: ``… of what the score (0.897) has above the mean document's (0.781), …``.
    """
    own = e.above_mean or e
    weak, weak_part = own.weakly_shared
    shown, carry, rest = len(own) - weak, own.shared - weak_part, own.score - own.shared
    as_shares = own.score > 0 and max(abs(x) for x in (carry, weak_part, rest)) <= _MANY * own.score
    of_score = "of the score" if as_shares else f"of the score, which is {e.score:.3f}"
    if e.baseline is not None:
        side = "has above" if own.score > 0 else "lacks of"
        of_score = f"of what the score ({e.score:.3f}) {side} that of {baseline_name(e)} ({e.baseline:.3f})"

    def part(x: float) -> str:
        return f"{100 * x / own.score:.0f} %" if as_shares else f"{x:.3f}"

    told = f"{_the(shown, 'feature shown')} {part(carry)} {of_score}" if shown else ""
    if weak and shown:
        told += f", {weak} weakly shared {'one' if weak == 1 else 'ones'} {part(weak_part)}"
    elif weak:
        told = f"{_the(weak, 'weakly shared feature')} {part(weak_part)} {of_score}"
    if own.shared > 1.005 * own.score > 0:  # or the parts above would seem to be more than there is
        told += f"; the rest of the document counts against it, {part(rest)}"
    elif rest > max(carry, weak_part):
        told += f"; {part(rest)} {'is' if as_shares else 'are'} in no shared feature"
    return f"{told}."


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
    told += [f"  {more}" for more in (change_sentence(e), e.ranking and e.ranking.sentence(e.score), _unread(e)) if more]
    return "\n".join(told)


def change_sentence(e: Explanation) -> str | None:
    """What a change of the query did to the score; None if nothing changed the query.

    ``The changed query has a score of 0.451, the encoder's 0.430: *beer and brewing* -0.031, …``
    """
    if (before := e.before) is None:
        return None
    told = f"The changed query has a score of {e.score:.3f}, the encoder's {before.score:.3f}"
    shown = set(e.features[e.is_shown].tolist())
    features = ", ".join(
        f"*{row.label}*{'' if row.feature in shown else ' (label uncertain)'} {change:+.3f}" for row, change in changed_rows(e)
    )
    other = e.other - before.other  # that of the features that were taken out, too: they are no longer the query's
    parts = [features] if features else []
    parts += [f"features that it lacks {other:+.3f}"] if abs(other) >= 0.0005 else []
    return f"{told}: {'; '.join(parts)}." if parts else f"{told}."


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
