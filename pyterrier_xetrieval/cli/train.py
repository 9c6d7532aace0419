"""``pyterrier-xetrieval train``: a model of one's own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from .errors import Command
from .params import DEVICE, EXISTING, EXISTING_FILE, FOLDER, MISSING, POSITIVE, SEED, NewPath

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
VARIANTS = ("topk", "batch_topk", "matryoshka", "relu", "p_anneal", "jumprelu", "gated", "gated_anneal")


@click.command(cls=Command, interrupted="Finished steps are in the work folder; the same command goes on from there.")
@click.argument("paths", nargs=-1, metavar="CORPUS [TEXTS] OUT")
@click.option("--encoder", default=MINILM, show_default=True, help="Hub name or folder of a sentence-transformers model.")
@click.option("--query-prefix", help="Put before queries, if the encoder's folder does not say it.")
@click.option("--document-prefix", help="Put before documents, likewise.")
@click.option("--normalize/--no-normalize", default=None, help="Scale vectors to length 1, or leave them.")
@click.option("--dict-size", type=POSITIVE, help="Features of the dictionary.  [default: about one for two documents]")
@click.option("--general", type=EXISTING, help="Texts of other kinds, as CORPUS, that the dictionary is trained on as well.")
@click.option("--variant", type=click.Choice(VARIANTS), default="topk", show_default=True, help="Kind of sparse autoencoder.")
@click.option(
    "--k", type=POSITIVE, help="Active features of a vector; for topk, batch_topk and matryoshka.  [default: one in 16]"
)
@click.option("--sparsity", type=click.FloatRange(0, min_open=True), help="Weight of the sparsity loss; for the other variants.")
@click.option(
    "--steps", type=POSITIVE, help="Of the autoencoder, of 1,024 vectors each.  [default: until held-out documents gain nothing]"
)
@click.option("--hidden", type=POSITIVE, default=512, show_default=True, help="Hidden units of an internalizer.")
@click.option("--aspect", "aspects", multiple=True, help="Only this aspect of TEXTS; may be repeated.")
@click.option("--random", is_flag=True, help="Baseline: the dictionary stays untrained.")
@click.option("--work", type=FOLDER, help="Folder of intermediate results.  [default: OUT.work]")
@MISSING
@DEVICE
@SEED
def train(paths: tuple[str, ...], encoder: str, variant: str, aspects: tuple[str, ...], random: bool, **options: Any) -> None:
    """Train a model for your own corpus and encoder.

    Says what it will cost, encodes CORPUS and TEXTS, trains an internalizer per aspect (from a document's vector to that
    of the teacher's text about it), trains a sparse autoencoder on the documents' vectors and all their internalised
    views, labels its features by the words that carry them, and writes the artifact. Without TEXTS there are no
    internalizers: the original view alone. `describe` gives the features better names, with a language model.

    \b
    CORPUS  JSON lines, also .gz: {"docno": "d1", "text": "...", "title": "..."}
            ("_id" will do for "docno", and the title may be missing), or a
            BEIR-style folder with corpus.jsonl[.gz]
    TEXTS   what `teach` wrote: {"_id": "d1", "aspect": "summary", "text": "..."},
            about all documents or a part of them
    OUT     a new folder, the artifact: pt_meta.json (encoder, data, options,
            figures), internalizers.safetensors, sae.safetensors, labels.tsv,
            history.json (all losses), README.md (a short model card)

    \b
    Examples:
      pyterrier-xetrieval train corpus.jsonl reasoning.jsonl my-model \\
          --dict-size 6144 --k 96
      pyterrier-xetrieval train corpus.jsonl reasoning.jsonl my-e5 \\
          --encoder intfloat/e5-large-v2 --dict-size 8192 --k 256 --device cuda
      pyterrier-xetrieval train corpus.jsonl my-model --encoder my-e5 \\
          --query-prefix "query: " --document-prefix "passage: "
    and then, in Python:
      model = Xetrieval("my-model")
      explain = dense >> model.internalizer() >> model.scorer() >> model.explainer()

    After an interruption the same command goes on from what is in the work folder: vectors in blocks of 512 texts,
    finished internalizers, a checkpoint of the autoencoder. Other options use the same vectors. A work folder of another
    corpus or another encoder is refused. It can be deleted when OUT is there; `describe --work` reuses its vectors.
    """
    from ..training.whole_model import train_model

    corpus, texts, out = _paths(paths)
    if random and variant != "topk":
        raise click.UsageError(f"--random goes without --variant, found {variant}")
    if texts is None and aspects:
        raise click.UsageError("--aspect goes with TEXTS")
    started = time.perf_counter()
    options |= {"variant": "random" if random else variant, "aspects": aspects or None}
    model = train_model(corpus, texts, encoder, out, **options, verbose=True)
    click.echo(f"\n{(out / 'README.md').read_text(encoding='utf-8')}")
    click.echo(f"{out}: views {', '.join(['original', *model.aspects])}; {time.perf_counter() - started:.1f} s")


def _paths(paths: tuple[str, ...]) -> tuple[Path, Path | None, Path]:
    if len(paths) not in (2, 3):
        raise click.UsageError(f"expects CORPUS [TEXTS] OUT, found {len(paths)} paths")
    names = ["CORPUS", "OUT"] if len(paths) == 2 else ["CORPUS", "TEXTS", "OUT"]
    kinds = {"CORPUS": EXISTING, "TEXTS": EXISTING_FILE, "OUT": NewPath(folder=True)}
    found = {}
    for name, path in zip(names, paths):
        try:
            found[name] = Path(os.fsdecode(kinds[name].convert(path, None, None)))
        except click.BadParameter as error:
            raise click.BadParameter(error.message, param_hint=name) from None
    return found["CORPUS"], found.get("TEXTS"), found["OUT"]
