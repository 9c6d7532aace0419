"""The card of a trained model, the ``README.md`` of its folder."""

from __future__ import annotations

from ..model import Xetrieval


def model_card(model: Xetrieval) -> str:
    """Markdown: encoder, dictionary, views, corpus, labels, and the figures of both trainings."""
    encoder, facts, sae = model.meta["encoder"], model.meta["training"], model.sae
    lines = [
        f"# Xetrieval model for {encoder['name'] or encoder['class']}",
        "",
        f"- vectors: {model.dim} dimensions, {'unit length' if encoder['normalize'] else 'not of unit length'}, dot product",
        f"- dictionary: {sae.dict_size} features, trained as {facts['arguments']['variant']!r}, inference rule {sae.activation!r}",
        f"- views: {', '.join(['original', *model.aspects])}",
        f"- corpus: {facts['corpus']['documents']:,} documents; seed {facts['seed']}",
        f"- labels: {len(model.labels)} features, {', '.join(model.labels.methods) or 'none'}",
    ]
    for aspect, figures in facts["internalizers"].items():
        lines.append(
            f"- internalizer {aspect}: squared error {figures['val_mse']:.4f} on held-out documents ({figures['identity_mse']:.4f} "
            "for the document's own vector)"
        )
    if facts["sae"]:
        lines.append(
            f"- held-out vectors: {facts['sae']['fve']:.3f} of the variance explained by {facts['sae']['l0']:.1f} features; "
            f"{facts['sae']['never_active']:.1%} of the features never active"
        )
    return "\n".join([*lines, "", "After Cai et al. (2026), arXiv:2605.29507. The losses are in `history.json`.", ""])
