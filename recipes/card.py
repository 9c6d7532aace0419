"""The model card (README.md of the artifact folder), written from the facts and figures of a training run."""

from __future__ import annotations


def model_card(*, sae, internalizers, encoder: dict, facts: dict, sources: dict[str, str], labels, curve=()) -> str:
    """Markdown text of the card.

    Args:
        sae, internalizers: the parts; encoder: its description.
        facts: what :mod:`.default` collects: seed, options, ``internalizers.figures``, ``sae``, ``label_quality``,
            ``collections`` (name to the figures of :func:`.fidelity.measure`), and, where it was measured,
            ``view_weights_tried``, from the table that :mod:`.view_weights` prints: ``weights``, ``points`` (weight to
            points of nDCG@10 above dense retrieval) and ``note``, what follows from them, as Markdown.
        sources: name of each training collection to the text of its ``SOURCE.md``.
        labels: the :class:`~pyterrier_xetrieval.FeatureLabels`.
        curve: measured points ``{dict_size, k, steps, variant, collections}``, those compared at equal L0 with
            ``held_out``: {fve, fve_refit, l0}.
    """
    size = 2 * sum(p.numel() for part in (sae, *internalizers.values()) for p in part.parameters())
    trained, quality, collections = facts["sae"], facts["label_quality"], facts["collections"]
    parts = [
        f"# Xetrieval model for {encoder['name']}",
        f"""Reasoning internalizers and a TopK sparse autoencoder that explain the vectors of `{encoder["name"]}`
({sae.dim} dimensions, L2-normalised, no prefixes), after Cai et al. (2026), arXiv:2605.29507. Text of a document = title, space, text.

| part | value |
|---|---|
| views | original, {", ".join(internalizers)} (MLPs {sae.dim} → {next(iter(internalizers.values())).hidden} → {sae.dim}) |
| dictionary | D = {sae.dict_size} features, at most k = {sae.k} active, encoder and decoder apart |
| weights | {size:,} bytes, float16 (computation is float32) |
| view weights | {facts["view_weights"]:g} each (the paper's are 1) |
| labels | {len(labels)} of {sae.dict_size} features, {", ".join(labels.methods) or "none"} |
| seed, threads | {facts["seed"]}, {facts["threads"]} |""",
        "## Fidelity",
        """FVE = 1 − Σ‖x − x̃‖² / Σ‖x − x̄‖² over a collection. *refit*: the coefficients of the active features are replaced by
their least-squares values (`sae.refit`), the features stay. nDCG@10 (%) ranks by dot product with the original document vectors,
with documents reconstructed, and with documents and queries reconstructed, as they are; *unit* scales reconstructed documents to
length 1 (a reconstruction is shorter the more it misses, which reorders documents under dot product; refitted ones are nearly free of it).
Refitted FVE is of the first 4,000 documents of a collection (the first 1,500 in the table of variants, D and k).
Shared features: active in the query and in the relevant document's original vector / in any of its views.""",
        "### Variance explained",
        _fve_table(collections, list(internalizers)),
        "### Retrieval with reconstructed vectors",
        _ndcg_table(collections),
        f"On {facts['held_out']:,} documents held out of the training collections: FVE {trained['fve_held_out']:.3f} ({trained['fve_held_out_refit']:.3f} with refit), "
        f"{trained['l0_held_out']:.1f} features active. {100 * trained['dead_share']:.2f}% of the features are dead (never active on training or held-out vectors). "
        "Dialogues among the held-out documents also occur in the training vectors as contexts, so this FVE is a little too high; "
        "the collections above are the figures to trust.",
        "## Internalizers",
        _internalizer_table(facts["internalizers"]["figures"]),
        """E‖R(z) − z_t‖² and cosine on the 15% of the teacher documents held out (the split that also chose the epoch and, by hand, the
options, so read them as validation figures). *ensemble* is the distilled target's own error. Summary, purpose and QA texts were
written by a large language model for 2,320 training documents.""",
        *_view_weights(facts),
        "## Labels",
        f"""Keywords of a feature's most activating training texts: {", ".join(labels.methods)}. On held-out documents, the
{quality["features"]} labelled features with enough activating texts: {100 * quality["hits"]:.0f}% of the ten most activating texts contain a label word
against {100 * quality["false_alarms"]:.0f}% of random texts that do not activate the feature (AUC {quality["auc"]:.2f}; above chance for
{100 * quality["auc_above_half"]:.0f}% of features). They name words that go with a feature, not what it means.""",
    ]
    if curve:
        parts += ["## Choice of variant, D and k", _choice(curve), _curve_table(curve)]
    parts += [
        "## Training",
        f"""Autoencoder: {trained["vectors"]:,} vectors (documents raw and internalised, teacher texts, dialogue contexts, and short query-like
texts: titles, teacher questions, single sentences), {trained["steps"]:,} steps of 1,024, Adam {trained["lr"]:g} with linear warm-up and decay,
directions of unit length, AuxK against dead features. Draw weights: {_inline(trained["draw"])}. Short texts: {_inline(facts["short_texts"])}.
Internalizers: {_inline({k: v for k, v in facts["internalizers"].items() if k != "figures"})}; Adam 5e-4, batch 128, 85/15 split, early stopping with patience 5.

`python -m recipes.default --data DIR --out PATH --seed """
        + f"{facts['seed']}`",
        "## Training data",
        *(f"### {name}\n\n" + "\n".join(text.strip().splitlines()[1:]).strip() for name, text in sources.items()),
        "Left out of `train_stackexchange`: ids beginning with `beer_` and `matheducators_`.",
        "## Limits",
        """- The dictionary does not reproduce a vector exactly: every explanation carries a residual, larger on text unlike the training data (FVE above).
- English only; at most 256 word pieces of a text reach the encoder.
- `train_prose` holds MS MARCO v2 passages: those of TREC DL 2021 are in it, and near copies of TREC DL 2019 passages (another cut of the same web text) may be (39 of 14,382 share a passage of 25 words; one is identical), so
  DL19 figures are not of an unrelated domain. MedQuAD answers and question titles are in it, and LiveQA-Med's judged answers come from
  the same source: a quarter of them share a passage of 25 words or more with the training text, so LiveQA-Med is no unseen collection.
  Of NQ's passages 10 of 3,805 do; of SciFact's none.
- Training text without a stated licence or with a non-commercial one is listed above; the weights were derived from it. See each source before commercial use.
- Labels are keywords and can mislead; look at a feature's texts before relying on its name.""",
    ]
    return "\n\n".join(parts) + "\n"


def _table(header, rows) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


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


def _choice(curve) -> str:
    held = "; ".join(
        f"{p['variant']} {p['held_out']['fve']:.3f} → {p['held_out']['fve_refit']:.3f}" for p in curve if "held_out" in p
    )
    return f"""Short runs of equal length, to compare the points with each other; the released dictionary was trained longer. Variants are
compared at equal L0: the threshold of batch_topk and matryoshka is moved until 2,000 held-out documents have k active features on
average. FVE there, plain → refit: {held}. On other collections a threshold lets more features through (column L0), and its higher
FVE there is bought with them. Matryoshka's reconstructions keep their length, hence its plain nDCG, but a query shares most of its
features with any document it matches. TopK was kept: as faithful at equal L0, and no text has more than k features to explain.
Rows "topk, earlier trainer" chose D and k, with an earlier version of the training program."""


def _curve_table(curve) -> str:
    header = [
        "D",
        "k",
        "steps",
        "variant",
        "collection",
        "L0",
        "FVE → refit",
        "nDCG@10 original",
        "docs → refit",
        "both → refit",
        "shared raw",
        "shared",
    ]
    rows = []
    for point in curve:
        for name, c in point["collections"].items():
            rows.append([
                point["dict_size"], point["k"], point["steps"], point["variant"], name, f"{c['l0_docs']:.0f}",
                f"{c['fve.original']:.3f} → {c['fve_refit.original']:.3f}", f"{100 * c['ndcg']:.1f}",
                f"{100 * c['ndcg_docs']:.1f} → {100 * c['ndcg_docs_refit']:.1f}", f"{100 * c['ndcg_both']:.1f} → {100 * c['ndcg_both_refit']:.1f}",
                f"{c['shared_raw']:.1f}", f"{c['shared']:.1f}",
            ])  # fmt: skip
    return _table(header, rows)


def _inline(options: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())
