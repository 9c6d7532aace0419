"""``pyterrier-xetrieval explain``: a file of pairs in, a file of explanations out."""

from __future__ import annotations

from pathlib import Path

import click

from .errors import Command
from .params import DEVICE, EXISTING_FILE, Model, NewPath, open_model


@click.command(cls=Command, interrupted="OUT is as it was; the same command starts again.")
@click.argument("pairs", type=EXISTING_FILE)
@click.argument("out", type=NewPath())
@click.option("--model", "name", type=Model(), default="default", help="An artifact's folder.  [default: the bundled model]")
@click.option("--attribution", is_flag=True, help="Also write the score, its parts, and each feature's contribution.")
@click.option("--threshold", default=0.0, show_default=True, type=click.FloatRange(min=0), help="A feature is active above it.")
@DEVICE
def explain(pairs: Path, out: Path, name: str, attribution: bool, threshold: float, device: str | None) -> None:
    """Explain query-document pairs by the features they share.

    Encodes both texts with the model's own encoder, computes the document's reasoning views, and names the features
    that are active in the query and in at least one view. Reads and writes the formats of the released Xetrieval
    program:

    \b
    PAIRS  one JSON object a line; query_id and doc_id may be missing
           {"query_id": "q1", "doc_id": "d7",
            "query": "sort a list", "doc": "Return a new sorted list ..."}
    OUT    one line per pair, in order
           {"query_id": "q1", "doc_id": "d7", "shared_features": [17, 4],
            "per_view_shared_features": {"original": [17], "qa": [17, 4], ...},
            "feature_explanations": [{"feature_id": 17, ...}, ...]}
           with --attribution also "score", "parts" (they add up to the score)
           and "features"

    \b
    Example:
      pyterrier-xetrieval explain pairs.jsonl explained.jsonl \\
          --model my-model --attribution

    OUT is replaced when all pairs are done. An interruption leaves what was there, and the command starts again.
    """
    from ..checkpoints.pairs import explain_file

    model, encoder = open_model(name, device)
    count = explain_file(model, pairs, out, encoder=encoder, attribution=attribution, threshold=threshold)
    click.echo(f"{count} pairs explained in {out}")
