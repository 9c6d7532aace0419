"""The card of a trained model, the ``README.md`` of its folder."""

from __future__ import annotations

import os

from ..model import Xetrieval
from .plan import FEW


def model_card(model: Xetrieval) -> str:
    """Markdown: encoder, dictionary, views, corpus, labels, and the figures of both trainings."""
    encoder, facts, sae = model.meta["encoder"], model.meta["training"], model.sae
    general = f", and {facts['general']['documents']:,} of other kinds" if "general" in facts else ""
    name = encoder["name"] or encoder["class"]
    lines = [
        f"# Xetrieval model for {os.path.basename(name) if os.path.isabs(name) else name}",
        "",
        f"- vectors: {model.dim} dimensions, {'unit length' if encoder['normalize'] else 'not of unit length'}, dot product; pooling "
        f"{encoder['pooling'] or 'unknown'}; prefixes {encoder.get('query_prefix', '')!r}, {encoder.get('document_prefix', '')!r}",
        f"- dictionary: {sae.dict_size} features, trained as {facts['arguments']['variant']!r}, inference rule {sae.activation!r}",
        f"- views: {', '.join(['original', *model.aspects])}",
        f"- corpus: {facts['corpus']['documents']:,} documents{general}; seed {facts['seed']}",
        f"- labels: {len(model.labels)} features, {', '.join(model.labels.methods) or 'none'}",
    ]
    for aspect, figures in facts["internalizers"].items():
        lines.append(
            f"- internalizer {aspect}: squared error {figures['val_mse']:.4f} on held-out documents ({figures['identity_mse']:.4f} "
            "for the document's own vector)"
        )
    if facts["sae"]:
        lines.append(
            f"- variance explained: {facts['sae']['train_fve']:.3f} of vectors trained on, {facts['sae']['fve']:.3f} of held-out ones, by "
            f"{facts['sae']['l0']:.1f} features after {facts['sae']['step']:,} steps; {facts['sae']['never_active']:.1%} of the features "
            "never active"
        )
    if facts["corpus"]["documents"] + facts.get("general", {}).get("documents", 0) < FEW:
        lines.append(
            "- few documents: of texts of other kinds the dictionary explains less than of held-out ones; mix in general text"
        )
    if model.has_long_bias:
        lines.append(
            f"- the dictionary's bias has length {float(model.sae.b_dec.norm()):.2f}: explanations tell what a score has above the mean "
            "document's"
        )
    if model.meta.get("judged") is False:
        lines.append(
            f"- confidence: nobody has judged these labels; it is counted as of labels that judges read, low, and features below "
            f"{model.min_confidence} are counted as weakly shared"
        )
    elif judge := model.meta.get("judged"):
        lines.append(
            f"- confidence: fitted on what {judge} said of texts that it was shown with a label; it stands for no person"
        )
    return "\n".join([*lines, "", "After Cai et al. (2026), arXiv:2605.29507. The losses are in `history.json`.", ""])
