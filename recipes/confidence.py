"""The parameters of confidence: how likely a label fits, fitted on what a judge read.

``python -m recipes.confidence --verdicts FILE --hypotheses FILE [--pairs FILE] [--out FILE]``. Detection is a score made of the
very verdicts that are to be predicted, so each verdict is left out of its own feature's detection.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.labelling.judged_confidence import PASSES, WEIGHTS, detection_without, fit
from pyterrier_xetrieval.store.files import replacing
from recipes.calibration import isotonic, kept, log_loss, reliability, show_errors
from recipes.command import FILE, HELP, NEW_FILE, Command
from recipes.row_confidence import FITS, confidence_of_rows, fit_pairs

BY_ROW = (
    (*WEIGHTS, "contribution"), (*WEIGHTS, "support"), (*WEIGHTS, "contribution", "support"),
    (*WEIGHTS, "contribution", "support", "similarity"),
)  # fmt: skip
FORMS = (WEIGHTS[:1], WEIGHTS[:2], WEIGHTS)
ROW = (
    "pair", "verdict", "query_activation", "document_activation", "clarity", "detection", "contribution",
    "query_support", "document_support", "query_similarity", "document_similarity",
)  # fmt: skip
FOLDS = 5
SHORT, LONG = 15, 38  # words: about a query, about a whole window of a document
STRONG = 0.3  # of the maximum: the rule without a model, for comparison


def read_excerpts(verdicts: Path, hypotheses: Path) -> pd.DataFrame:
    """The excerpts that switch their feature on, with the judge's verdict.

    Args:
        verdicts: JSON lines ``{feature, texts: [{text, activation, active, verdict}]}``, plain or .gz.
        hypotheses: tab-separated table with columns feature, clarity, max.

    Raises:
        ValueError: a column or a judged feature is missing, or there are no verdicts on active excerpts.

    Returns:
        columns feature, activation (over max), clarity, fits (0 or 1), words; and of the excerpt's feature hits, active
        (how many fit, of how many) and false (share of the other texts that the label was found to fit).
    """
    table = pd.read_csv(hypotheses, sep="\t", quoting=3)
    missing = {"feature", "clarity", "max"} - set(table.columns)
    if missing:
        raise ValueError(f"confidence expects columns feature, clarity, max in {hypotheses}, missing {sorted(missing)}")
    known = table.set_index("feature")
    rows: list[dict] = []
    with (gzip.open if verdicts.suffix == ".gz" else open)(verdicts, "rt", encoding="utf-8") as lines:
        for judged in map(json.loads, lines):
            active = [text for text in judged["texts"] if text["active"]]
            others = [text["verdict"] for text in judged["texts"] if not text["active"]]
            if judged["feature"] not in known.index:
                raise ValueError(f"confidence expects every judged feature in {hypotheses}, missing {judged['feature']}")
            feature = known.loc[judged["feature"]]
            of_feature = {
                "feature": judged["feature"], "clarity": feature["clarity"], "active": len(active),
                "hits": sum(text["verdict"] for text in active), "false": float(np.mean(others)) if others else 0.0,
            }  # fmt: skip
            rows += [
                {"activation": text["activation"] / feature["max"], "fits": text["verdict"],
                 "words": len(text["text"].replace("…", " ").split()), **of_feature} for text in active
            ]  # fmt: skip
    if not rows:
        raise ValueError(f"confidence expects verdicts on texts that switch a feature on, found none in {verdicts}")
    return pd.DataFrame(rows).astype({"clarity": np.float64, "fits": np.float64})


def predict(confidence: Confidence, excerpts: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """The probability that the label fits each excerpt, the verdicts of a line of ``rows`` being unknown.

    Args:
        rows: int ``[n, s]``; a line has ``s`` excerpts of one feature.

    Returns:
        float64 ``[n, s]``.
    """
    activation, clarity = (excerpts[name].to_numpy()[rows] for name in ("activation", "clarity"))
    expected = confidence.of_text(activation, clarity)
    for _ in range(PASSES):
        expected = confidence.of_text(activation, clarity, detection_without(excerpts, rows, expected)[:, None])
    return expected


def pairs_of(excerpts: pd.DataFrame) -> np.ndarray:
    """All pairs of excerpts of one feature, int64 ``[m, 2]``."""
    groups = excerpts.groupby("feature", sort=False).indices.values()
    return np.array([pair for rows in groups for pair in combinations(rows, 2)], np.int64).reshape(-1, 2)


def folds_of(groups: Sequence, seed: int) -> np.ndarray:
    """Which of :data:`FOLDS` parts each row is in, int ``[n]``; a group (a feature, a pair) is in one."""
    names, at = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < FOLDS:
        raise ValueError(f"confidence expects at least {FOLDS} features or pairs to hold some out, found {len(names)}")
    return np.random.default_rng(seed).permutation(len(names))[at] % FOLDS


def held_out(excerpts: pd.DataFrame, pairs: np.ndarray, seed: int, use: Sequence[str] = WEIGHTS) -> tuple[np.ndarray, np.ndarray]:
    """Of excerpts ``[n]`` and of both of ``pairs`` ``[m]``, the probability from parameters fitted on other features."""
    fold, single = folds_of(excerpts["feature"], seed), np.arange(len(excerpts))[:, None]
    of_text, of_pair = np.zeros(len(excerpts)), np.zeros(len(pairs))
    for part in range(FOLDS):
        found, own = fit(excerpts[fold != part], use), fold == part
        of_text[own] = predict(found, excerpts, single[own])[:, 0]
        both = own[pairs[:, 0]]
        of_pair[both] = predict(found, excerpts, pairs[both]).prod(axis=1)
    return of_text, of_pair


def held_out_rows(rows: pd.DataFrame, start: Confidence, seed: int, use: Sequence[str] = WEIGHTS) -> np.ndarray:
    """The confidence of rows of explanations from parameters fitted on other pairs, float64 ``[n]``."""
    fold, out = folds_of(rows["pair"], seed), np.zeros(len(rows))
    for part in range(FOLDS):
        own = rows[fold == part]
        found = fit_pairs(rows[fold != part], start, use)
        out[fold == part] = confidence_of_rows(found, own, use)
    return out


def show_excerpts(excerpts: pd.DataFrame, seed: int) -> None:
    """Prints how well confidence is calibrated on features that it was not fitted on, and what min_confidence keeps."""
    fits, pairs = excerpts["fits"].to_numpy(), pairs_of(excerpts)
    both = fits[pairs].prod(axis=1)
    for use in FORMS:
        of_text, of_pair = held_out(excerpts, pairs, seed, use)
        show_errors(", ".join(use), {"texts": (of_text, fits), "pairs": (of_pair, both)})
    levelled = isotonic(of_text, fits, folds_of(excerpts["feature"], seed))
    show_errors("isotonic on the last", {"texts": (levelled, fits)})
    words, clarity = excerpts["words"].to_numpy(), excerpts["clarity"].to_numpy()
    short, long = words <= SHORT, words >= LONG
    parts = {f"clarity {level:g}": clarity == level for level in np.unique(clarity)[::-1]}
    parts |= {f"at most {SHORT} words": short, f"at least {LONG} words": long}
    show_errors("texts", {name: (of_text[part], fits[part]) for name, part in parts.items() if part.any()})
    first, second = pairs.T
    parts = {
        "short and long": (short[first] & long[second]) | (long[first] & short[second]),
        "both short": short[first] & short[second], "both long": long[first] & long[second],
    }  # fmt: skip
    show_errors("pairs", {name: (of_pair[part], both[part]) for name, part in parts.items() if part.any()})
    strong = excerpts["activation"].to_numpy() > STRONG
    for name, p, observed, chosen in (
        ("texts", of_text, fits, strong), ("pairs", of_pair, both, strong[pairs].all(axis=1)),
    ):  # fmt: skip
        click.echo(f"\n{name}\n{reliability(p, observed).round(3).to_string()}")
        click.echo(kept(p, observed, {f"activation > {STRONG} of maximum": chosen}).round(3).to_string())


def refit(rows: pd.DataFrame, start: Confidence, seed: int) -> Confidence:
    """Parameters from rows of explanations, with what else lowers the log loss of pairs held out; prints it."""
    fits = (rows["verdict"] == FITS).to_numpy(np.float64)
    known = (rows[name] for name in ("query_activation", "document_activation", "clarity", "detection"))
    forms = {use: held_out_rows(rows, start, seed, use) for use in (WEIGHTS, *BY_ROW)}
    use = min(forms, key=lambda use: log_loss(forms[use], fits))
    named = {"as fitted on texts": start(*known)} | {", ".join(use): p for use, p in forms.items()}
    show_errors("rows", {name: (p, fits) for name, p in named.items()})
    click.echo(f"\nrows\n{reliability(forms[use], fits).round(3).to_string()}\n{kept(forms[use], fits, {}).round(3).to_string()}")
    return fit_pairs(rows, start, use)


@click.command(cls=Command, interrupted="Nothing was written.", context_settings=HELP)
@click.option("--verdicts", required=True, type=FILE, help="What a judge said of excerpts, JSON lines, plain or .gz.")
@click.option("--hypotheses", required=True, type=FILE, help="Table with columns feature, clarity, max.")
@click.option("--pairs", type=FILE, help=f"Verdicts on rows of explanations, a table: {', '.join(ROW)}.")
@click.option("--seed", default=0, show_default=True, help="Of the parts held out.")
@click.option("--out", type=NEW_FILE, help="The parameters, JSON.")
def main(verdicts: Path, hypotheses: Path, pairs: Path | None, seed: int, out: Path | None) -> None:
    """Fit the confidence of labels on what judges read, and show how well it is calibrated on what they read elsewhere."""
    excerpts = read_excerpts(verdicts, hypotheses)
    show_excerpts(excerpts, seed)
    found = fit(excerpts)
    if pairs is not None:
        rows = pd.read_csv(pairs, sep="\t")
        missing = set(ROW) - set(rows.columns)
        if missing:
            raise ValueError(f"confidence expects columns {', '.join(ROW)} in {pairs}, missing {sorted(missing)}")
        found = refit(rows, found, seed)
    click.echo(f"\n{json.dumps(found.to_dict())}")
    if out is not None:
        with replacing(out) as file:
            json.dump(found.to_dict(), file, indent=1)


if __name__ == "__main__":
    main(prog_name="python -m recipes.confidence")
