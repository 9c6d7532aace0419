"""The model card (README.md of the artifact folder), written from the artifact, its facts and its sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from recipes.tables import markdown

if TYPE_CHECKING:
    from pyterrier_xetrieval import Xetrieval

_table = partial(markdown, left=None)
_SOURCE = re.compile(r"^\| (\w+) \| [\w-]+ \| [\d,]+ \| (?:[^|\\]|\\.)* \| ((?:[^|\\]|\\.)+) \|", re.MULTILINE)


def model_card(model: Xetrieval, sources: Mapping[str, str]) -> str:
    """Markdown text of the card.

    Args:
        model: with the facts that :mod:`.default` collects in ``meta["training"]``: seed, options, ``internalizers.figures``,
            ``sae``, ``labels``, ``collections`` (name to the figures of :func:`.fidelity.measure`), and, where it was
            measured, ``view_weights_tried``, from the table that :mod:`.view_weights` prints.
        sources: name of each training collection to the text of its ``SOURCE.md``.
    """
    facts, sae, encoder = model.meta["training"], model.sae, model.meta["encoder"]
    trained, collections = facts["sae"], facts["collections"]
    size = 2 * sum(p.numel() for part in (sae, *model.internalizers.values()) for p in part.parameters())
    hidden = next(iter(model.internalizers.values())).hidden
    parts = [
        f"# Xetrieval model for {encoder['name']}, second edition",
        f"""Reasoning internalizers and a TopK sparse autoencoder that explain the vectors of `{encoder["name"]}`
({sae.dim} dimensions, L2-normalised, no prefixes), after Cai et al. (2026), arXiv:2605.29507. Text of a document = title, space, text.

| part | value |
|---|---|
| views | original, {", ".join(model.aspects)} (MLPs {sae.dim} → {hidden} → {sae.dim}) |
| dictionary | D = {sae.dict_size} features, at most k = {sae.k} active, encoder and decoder apart |
| weights | {size:,} bytes, float16 (computation is float32) |
| view weights | {facts["view_weights"]:g} each (the paper's are 1) |
| labels | {len(model.labels)} of {sae.dict_size} features, {", ".join(model.labels.methods) or "none"} |
| shown | rows with a confidence of at least {model.min_confidence:g} |
| seed, threads | {facts["seed"]}, {facts["threads"]} |""",
        "## Labels",
        f"""A large language model read, for each feature, up to ten texts of one half of a pool (the six that activate it most and
four weaker ones), at most 45 words each, with the words marked that carry most of the activation. It was asked for 1 to 8 words
and a clarity: 2 if nearly all texts fit one reading, 1 if most of the strong ones do, 0 if none fits. Other instances of the same
kind judged blind, on texts of the other half, whether the label applies: eight excerpts of 40 words, four of which activate the
feature. Detection = (hits + 1 − false alarms) / 2; .5 is chance.

{_label_table(facts["labels"])}

{_broad(facts)}{_readings(facts)}**A label is true of strong activations.** Each row of an explanation has a confidence, the probability that its label fits query and
document: `p(a_query) · p(a_document)` with `p(a) = sigmoid({_logit(model.meta["confidence"])})`, where `a` is the activation
over the largest one that is known of the feature, contribution is to the score, support is 1 where the words of the text that carry
the feature say what the label says, and similarity is the cosine of label and text. {_fitted(facts)} (`python -m recipes.confidence`).""",
        "## Fidelity",
        """FVE = 1 − Σ‖x − x̃‖² / Σ‖x − x̄‖² over a collection. *refit*: the coefficients of the active features are replaced by
their least-squares values (`sae.refit`), the features stay. nDCG@10 (%) ranks by dot product with the original document vectors,
with documents reconstructed, and with documents and queries reconstructed, as they are; *unit* scales reconstructed documents to
length 1 (a reconstruction is shorter the more it misses, which reorders documents under dot product; refitted ones are nearly free of it).
Refitted FVE is of the first 4,000 documents of a collection.
Shared features: active in the query and in the relevant document's original vector / in any of its views.""",
        "### Variance explained",
        _fve_table(collections, list(model.aspects)),
        "### Retrieval with reconstructed vectors",
        _ndcg_table(collections),
        f"On {facts['held_out']:,} passages held out of the varied text: FVE {trained['fve_held_out']:.3f} "
        f"({trained['fve_held_out_refit']:.3f} with refit), {trained['l0_held_out']:.1f} features active. "
        f"{100 * trained['dead_share']:.2f}% of the features are dead (never active on the training vectors). "
        "Whether these passages were held out of the dictionary's training depends on who trained it: a dictionary that was given "
        "to the recipe may have seen them, and the collections above are the figures to trust.",
        *_agreement(facts),
        "## Internalizers",
        _internalizer_table(facts["internalizers"]["figures"]),
        """E‖R(z) − z_t‖² and cosine on the 15% of the teacher documents held out (the split that also chose the epoch and, by hand, the
options, so read them as validation figures). *ensemble* is the distilled target's own error. Summary, purpose and QA texts were
written by a large language model for 2,320 training documents.""",
        *_view_weights(facts),
        "## Training",
        f"""Autoencoder: {trained["vectors"]:,} vectors (documents and varied passages, raw and internalised, teacher texts, utterances, and
short texts: titles, questions, search queries), {trained["steps"]:,} steps of 1,024, Adam {trained["lr"]:g} with linear warm-up and decay,
directions of unit length, AuxK against dead features. Draw weights: {_inline(trained["draw"])}.
Internalizers: {_inline({k: v for k, v in facts["internalizers"].items() if k != "figures"})}; Adam 5e-4, batch 128, 85/15 split, early stopping with patience 5.

`python -m recipes.default --data DIR --out PATH --hypotheses FILE --verdicts FILE`""",
        "## Training data",
        *(f"### {name}\n\n{_source(name, text)}" for name, text in sources.items()),
        "Left out of `train_stackexchange`: ids beginning with `beer_` and `matheducators_`.",
        "## Limits",
        """- The dictionary does not reproduce a vector exactly: every explanation carries a residual, larger on text unlike the training data (FVE above).
- English only; at most 256 word pieces of a text reach the encoder. The encoder shares word pieces between unrelated words, and some
  features join them ("Wolman disease / words starting with Wo"): of such a label the reading is shown that most likely fits.
- `train_prose` holds MS MARCO v2 passages: those of TREC DL 2021 are in it, and near copies of TREC DL 2019 passages (another cut of the same web text) may be (39 of 14,382 share a passage of 25 words; one is identical), so
  DL19 figures are not of an unrelated domain. MedQuAD answers and question titles are in it, and LiveQA-Med's judged answers come from
  the same source: a quarter of them share a passage of 25 words or more with the training text, so LiveQA-Med is no unseen collection.
  Of NQ's passages 10 of 3,805 do; of SciFact's none.
- Training text without a stated licence or with a non-commercial one is listed above; the weights and labels were derived from it. See each source before commercial use.
- A label describes what activates a feature strongly; below a third of the maximum it is more often wrong than right.""",
    ]
    return "\n\n".join(parts) + "\n"


def _broad(facts: dict) -> str:
    """What is said of labels that were written again, a paragraph; nothing where none were."""
    if (broad := facts.get("broad_labels")) is None:
        return ""
    old, new = broad["fits"]["old"], broad["fits"]["new"]
    return f"""Of the {broad["read"]:,} features that weigh most among rows which are not shown, another instance read texts of every strength, and
two labels, the old one and its own, were judged on other texts by instances that did not know which was which. {broad["new"]:,} features
have the new label now. Old and new labels fitted {old["0.25-0.4"]:.0%} and {new["0.25-0.4"]:.0%} of the texts in which the feature has
.25 to .4 of its maximum, {old["0.6-1"]:.0%} and {new["0.6-1"]:.0%} from .6 on, and {old["silent"]:.1%} and {new["silent"]:.1%} of texts without
the feature (`python -m recipes.broad_labels`). Their scores in the table are those of the first labels, moved as far as the new ones are better.

"""


def _readings(facts: dict) -> str:
    """What is said of labels of several readings, a paragraph; nothing where there are none."""
    if (own := facts.get("label_readings")) is None:
        return ""
    old, new = own["fits"]["old"], own["fits"]["new"]
    return f"""Where a feature is weak it often stands for something near its strong meaning. Of the {own["read"]:,} features that weigh most among rows
which are not shown, an instance read texts of every strength and wrote up to four *readings*, others judged each of them on other
texts, and {own["new"]:,} features have the readings that were found to fit. An explanation shows the one that most likely fits its query and
document: the vectors of all {own["readings"]:,} readings are part of the artifact. The reading shown fits {new["0.25-0.4"]:.0%} of the texts in which
its feature has .25 to .4 of its maximum (the label before: {old["0.25-0.4"]:.0%}), {new["0.6-1"]:.0%} ({old["0.6-1"]:.0%}) from .6 on, and
{new["silent"]:.1%} ({old["silent"]:.1%}) of texts without the feature (`python -m recipes.label_readings`).

"""


def _label_table(groups: Mapping[str, Mapping[str, float]]) -> str:
    rows = [[n, f"{g['features']:,}", *(f"{g[c]:.3f}" for c in ("detection", "hits", "false"))] for n, g in groups.items()]
    return _table(["", "features", "detection", "hits", "false alarms"], rows)


def _agreement(facts: Mapping) -> list[str]:
    """The section on a second training with another seed; nothing if there was none."""
    if "agreement" not in facts:
        return []
    a = facts["agreement"]
    return [
        "### Two trainings",
        f"""A second training with another seed finds other features: the nearest direction has a cosine of {a["mean_best_cosine"]:.2f} on average
({a["random"]:.2f} for random directions), and {100 * a["above_0.7"]:.0f}% have one above .7. Explanations agree better: on {a["pairs"]:,} pairs of ten
collections, {100 * a["largest_found"]:.0f}% of the five largest shared features have their nearest counterpart among the other dictionary's shared features, with
{100 * a["contribution_found"]:.0f}% of the shared contribution (median), and the sums of shared contributions correlate by {a["correlation_of_shared"]:.2f}. Unexplained share of the score
(absolute, mean): {a["unexplained"][0]:.3f} and {a["unexplained"][1]:.3f} (`python -m recipes.seed_agreement`).""",
    ]


def _fitted(facts: Mapping) -> str:
    """What the parameters of the confidence were fitted on."""
    texts = "Its parameters were fitted on the judges' verdicts, each left out of its own feature's detection"
    if "rows_read" not in facts:
        return texts
    read = facts["rows_read"]
    return f"{texts}, and then on {read['verdicts']:,} verdicts of blind judges on rows of {read['pairs']} explanations"


def _logit(confidence: Mapping[str, float]) -> str:
    names = {
        "activation": "ln a",
        "clarity": "clarity",
        "detection": "detection",
        "contribution": "contribution",
        "support": "support",
        "similarity": "similarity",
    }
    terms = [f"{confidence[key]:.3f} {name}" for key, name in names.items() if confidence[key]]
    return f"{confidence['intercept']:.3f} + {' + '.join(terms)}"


def _source(name: str, text: str) -> str:
    """What is said of a source; of a long list of sources, which have which licence."""
    listed = _SOURCE.findall(text)
    if not listed:
        body = "\n".join(text.strip().splitlines()[1:]).strip()
        return body or text.strip().replace("../train_varied/SOURCE.md", "`train_varied`")
    by_licence: dict[str, list[str]] = {}
    for source, licence in listed:
        by_licence.setdefault(licence.strip(), []).append(source)
    lines = [f"- {licence}: {', '.join(names)}" for licence, names in sorted(by_licence.items(), key=lambda x: -len(x[1]))]
    return (
        f"Passages of 20 to 200 words in seven kinds of equal size, and short texts of 3 to 20 words (`train_short`), of {len(listed)} sources. Licences as far as they are known:\n\n"
        + "\n".join(lines)
    )


def _fve_table(collections, aspects) -> str:
    views = ["original", *aspects, "query"]
    rows = [[name] + [f"{c[f'fve.{v}']:.3f} → {c[f'fve_refit.{v}']:.3f}" for v in views] for name, c in collections.items()]
    return _table(["collection (plain → refit)", *views], rows)


def _ndcg_table(collections) -> str:
    header = [
        "collection",
        "docs",
        "queries",
        "original",
        "docs",
        "both",
        "docs unit",
        "both unit",
        "docs refit",
        "both refit",
        "shared raw",
        "shared",
        "active d / q",
    ]
    columns = ("ndcg", "ndcg_docs", "ndcg_both", "ndcg_docs_unit", "ndcg_both_unit", "ndcg_docs_refit", "ndcg_both_refit")
    rows = [
        [
            name,
            c["docs"],
            c["queries"],
            *(f"{100 * c[x]:.1f}" for x in columns),
            f"{c['shared_raw']:.1f}",
            f"{c['shared']:.1f}",
            f"{c['l0_docs']:.0f} / {c['l0_queries']:.0f}",
        ]
        for name, c in collections.items()
    ]
    return _table(header, rows)


def _internalizer_table(figures) -> str:
    names = ("identity_mse", "val_mse", "identity_cosine", "val_cosine", "ensemble_mse")
    return _table(["aspect", *names], [[a, *(f"{f[n]:.3f}" if n in f else "" for n in names)] for a, f in figures.items()])


def _view_weights(facts) -> list[str]:
    """The section on the views' weight; nothing if no others were tried."""
    if "view_weights_tried" not in facts:
        return []
    tried = facts["view_weights_tried"]
    *first, last = (f"{weight:g}" for weight in tried["weights"])
    points = ", ".join(f"{points:+.2f} at {weight}" for weight, points in tried["points"].items())
    return [
        "## View weights",
        f"""All views get one weight, the best of {", ".join(first)} and {last} in mean nDCG@10 on six retrieval tasks made
from training text: questions of held-out teacher documents, titles to bodies of three sources, a sentence to the rest of its document,
the training split of MuTual. Points above dense retrieval, which is weight 0: {points}
(`python -m recipes.view_weights --data DIR`). {tried["note"]}
Retrieval figures at weights {facts["view_weights"]:g} and 1 for every collection: docs/results.md of the project.""",
    ]


def _inline(options: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())
