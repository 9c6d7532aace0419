"""``pyterrier-xetrieval index``: a corpus in, an index that explains what it finds out."""

from __future__ import annotations

from pathlib import Path

import click

from .errors import Command
from .params import DEVICE, EXISTING, MISSING, Model, NewPath, open_model


@click.command(cls=Command, interrupted="Finished blocks of documents are kept; the same command goes on.")
@click.argument("corpus", type=EXISTING)
@click.argument("out", type=NewPath(folder=True))
@click.option("--model", "name", type=Model(), default="default", help="An artifact's folder.  [default: the bundled model]")
@click.option("--no-words", is_flag=True, help="Do not keep the words of features: for encoders whose words are not known.")
@MISSING
@DEVICE
def index(corpus: Path, out: Path, name: str, no_words: bool, missing: str, device: str | None) -> None:
    """Encode a corpus, and index its vectors, features and words.

    Everything is encoded once, with the model's own encoder. `search` asks the index, `explore` makes a page of it, and `diagnose`
    says what is wrong with it; in Python it is `XetrievalIndex(OUT)`.

    \b
    CORPUS  JSON lines {"docno": "d1", "text": "..."}, or "_id" and "title",
            also gzipped (.gz); or a BEIR-style folder with
            corpus.jsonl[.gz]
    OUT     the folder of the index; must not exist

    \b
    Example:
      pyterrier-xetrieval index corpus.jsonl corpus.xetrieval
      pyterrier-xetrieval search corpus.xetrieval "sort a list by two keys"

    OUT is there when all documents are done. After an interruption the same command goes on.
    """
    from ..datasets.corpus_file import CorpusFile

    model, encoder = open_model(name, device)
    documents = CorpusFile(corpus, missing="drop" if missing == "drop" else "error")
    indexer = model.indexer(out, encoder=encoder, texts=True, evidence=not no_words, missing=documents.missing, verbose=True)
    made = indexer.index(documents)
    click.echo(f"{out}: {len(made)} documents, views {', '.join(['original', *model.aspects])}")
