"""Section of the results page for what a language model makes of the features; like :mod:`.sections_paper`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recipes.panels import histogram
from recipes.tables import Results, figure_link, interval, markdown, pick

HYPOTHESES, KEYWORDS = "hypotheses", "keywords"
MOST = 0.5  # a judge that says the same of all texts of more features than this measures nothing


def judged(results: Results):
    """Fig. 5, and the mono-semanticity of Fig. 3, by a language model that writes and judges."""
    t = results.frames["judged"]
    files = results.of("judged")
    parts, drawn = [], {}
    for file in files:
        name, options = file["key"]["collection"], file["key"]["options"]
        own = t[t["collection"] == name]
        parts += [_about(name, options), _controls(own, options), _dictionaries(own), _against_keywords(own), _table(own)]
        counts = own[(own["measure"] == "detection") & own["counts"].notna()]
        counts = {_kind(row): np.array(row["counts"]) for _, row in counts.iterrows()}
        figure = f"judged_{name}"
        drawn[figure] = histogram(counts, f"share of right answers about a feature, {name}")
        parts += [figure_link(figure, f"Detection scores over features, {name}"), _examples(own)]
    head = "## Figure 5 and mono-semanticity, judged by a language model"
    return "\n\n".join([head, *(part for part in parts if part)]), drawn


def _about(name: str, options: dict) -> str:
    return (
        f"{name}: {options['llm']} read {options['examples']} texts of {options['source']} that activate a feature most and "
        f"{options['contrast']} that do not, wrote a hypothesis, and said of {options['n_texts']} texts of {name}, half of them "
        f"activating, whether it fits; each text cut at {options['max_chars']} characters. Chance is .5. The same for every "
        "dictionary; intervals are over features. The paper's judge is a model of 32 billion parameters that reads more: "
        "compare directions, not numbers."
    )


def _controls(own: pd.DataFrame, options: dict) -> str:
    """Whether the judge can judge."""
    control = own[own["sae"] == "control"]
    true, wrong = _one(control, "detection", labels="true"), _one(control, "hits", labels="wrong")
    told, chance = _one(control, "mono_semanticity"), 1 / (options["n_intruders"] + 1)
    same = own[(own["measure"] == "constant") & (own["sae"] == "explainer") & (own["labels"] == HYPOTHESES)]["value"].max()
    if true["low"] <= 0.5:
        able = "That is no better than chance: what follows means nothing."
    elif same > MOST:
        able = (
            f"So it can judge plain topics, but of {same:.0%} of the explainer's features it said the same of all texts: whether labels "
            "of real features fit is not measurable with this judge."
        )
    else:
        able = "It can judge such labels."
    intruders = f"It names the intruder among {options['n_intruders'] + 1} such texts for {told['value']:.2f} of the topics (chance {chance:.2f})"
    if told["low"] > chance:
        semantic = own[(own["measure"] == "mono_semanticity") & (own["sae"] != "control")]
        found = ", ".join(f"{row['sae']} {interval(row, 3)} of {row['n']:.0f} features" for _, row in semantic.iterrows())
        intruders += f". Mono-semanticity, the share of features whose intruder it names: {found}."
        for _, row in own[own["measure"] == "mono_difference"].iterrows():
            intruders += (
                f" The explainer's is {_verdict(row, 'higher', 'lower')} that of the {row['sae']} dictionary ({_signed(row)})."
            )
    else:
        intruders += ", no better than chance, so that this model cannot measure mono-semanticity and was not asked to."
    return (
        f"Control, {true['n']:.0f} made-up features of one plain topic each: with the topic as label the judge is right in "
        f"{interval(true, 3)} of the cases; with another topic's label it accepts {wrong['value']:.2f} of the texts. {able} {intruders}"
    )


def _dictionaries(own: pd.DataFrame) -> str:
    scores = own[(own["measure"] == "detection") & (own["labels"] == HYPOTHESES)]
    means = ", ".join(f"{row['sae']} {interval(row, 3)}" for _, row in scores.iterrows())
    above = [row["sae"] for _, row in scores.iterrows() if row["low"] > 0.5]
    sentences = [f"Detection scores of the hypotheses: {means}; above chance: {', '.join(above) or 'none'}."]
    other = own[(own["measure"] == "difference") & (own["labels"] == HYPOTHESES)]
    for _, row in other.iterrows():
        sentences.append(f"The explainer's are {_verdict(row)} those of the {row['sae']} dictionary ({_signed(row)}).")
    same = own[(own["measure"] == "constant") & (own["labels"] == HYPOTHESES)]
    shares = ", ".join(f"{row['sae']} {row['value']:.2f}" for _, row in same.iterrows())
    sentences.append(f"Share of features of which the judge said the same of all texts, right in half of them: {shares}.")
    return " ".join(sentences)


def _against_keywords(own: pd.DataFrame) -> str:
    """The explainer's hypotheses and the labels that it comes with, on the same features and texts."""
    row = own[(own["measure"] == "difference") & (own["labels"] == KEYWORDS)]
    if not len(row):
        return ""
    row = row.iloc[0]
    score = _one(own, "detection", labels=KEYWORDS)
    return (
        f"The keyword labels that the model comes with score {interval(score, 3)} with the same judge, features and texts: the "
        f"hypotheses are {_verdict(row)} them ({_signed(row)}, paired by feature)."
    )


def _verdict(row, more: str = "better", less: str = "worse") -> str:
    return f"{more} than" if row["low"] > 0 else f"{less} than" if row["high"] < 0 else "not significantly different from"


def _signed(row) -> str:
    return interval(row, 3, signed=True)


def _table(own: pd.DataFrame) -> str:
    rows = []
    for _, row in own[(own["measure"] == "detection") & (own["sae"] != "control")].iterrows():
        part = own[(own["sae"] == row["sae"]) & (own["labels"] == row["labels"])]
        cells = [f"{_one(part, m)['value']:.3f}" for m in ("hits", "rejections", "unparsable", "constant")]
        given = part[part["measure"] == "described"]
        given = f"{given.iloc[0]['value'] * given.iloc[0]['n']:.0f} of {given.iloc[0]['n']:.0f}" if len(given) else ""
        rows.append([_kind(row), interval(row, 3), *cells, f"{row['n']:.0f}", given])
    header = ["labels", "detection", "hits", "rejections", "not readable", "same of all", "features", "hypotheses written"]
    return markdown(header, rows)


def _examples(own: pd.DataFrame, n: int = 8) -> str:
    """Features of the explainer with both labels."""
    single = own[(own["measure"] == "feature") & (own["sae"] == "explainer")]
    both = pick(single, "feature", labels=HYPOTHESES).index.intersection(pick(single, "feature", labels=KEYWORDS).index)[:n]
    labels = {kind: single[single["labels"] == kind].set_index("feature") for kind in (HYPOTHESES, KEYWORDS)}
    rows = []
    for feature in both:
        cells = [(part.loc[feature, "label"], f"{part.loc[feature, 'value']:.2f}") for part in labels.values()]
        rows.append([f"{feature:.0f}", *(cell.replace("|", "/") for pair in cells for cell in pair)])
    header = ["feature", "hypothesis", "detection", "keywords", "detection"]
    return markdown(header, rows, left=(0, 1, 3)) if rows else ""


def _kind(row) -> str:
    return f"{row['sae']}, {row['labels']}"


def _one(frame: pd.DataFrame, measure: str, **conditions) -> pd.Series:
    frame = frame[frame["measure"] == measure]
    for column, value in conditions.items():
        frame = frame[frame[column] == value]
    return frame.iloc[0]
