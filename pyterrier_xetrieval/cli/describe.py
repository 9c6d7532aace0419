"""``pyterrier-xetrieval describe``: a language model says what each feature stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .errors import Command
from .llm import language_model
from .params import EXISTING, FOLDER, MISSING, SEED, Features, Model, NewPath, open_model

if TYPE_CHECKING:
    from ..documents import Missing
    from ..llm.endpoints import LanguageModel


@click.command(cls=Command, interrupted="All hypotheses that came back are in OUT; the same command goes on with the rest.")
@click.argument("artifact", type=Model(), metavar="MODEL")
@click.argument("corpus", type=EXISTING)
@click.argument("out", type=NewPath())
@language_model
@click.option("--labels", "table", type=NewPath(), help="Where to write the table of labels.  [default: OUT with .labels.tsv]")
@click.option("--features", type=Features(), help="Only these, e.g. 17,20-29.  [default: all that some document activates]")
@click.option("--score", is_flag=True, help="Also measure the labels: do they tell which texts activate a feature?")
@click.option("--work", type=FOLDER, help="Folder of the corpus' vectors; that of `train` will do.  [default: OUT.work]")
@MISSING
@SEED
def describe(
    artifact: str,
    corpus: Path,
    out: Path,
    llm: LanguageModel,
    device: str | None,
    table: Path | None,
    features: list[int] | None,
    score: bool,
    work: Path | None,
    missing: Missing,
    seed: int,
) -> None:
    """Let a language model name the features of a model.

    Streams over CORPUS and keeps, for every feature, the documents that activate it most, in any of their views
    (original and internalised), and some that do not. The language model reads ten of these and five of those, and
    answers in one to eight words what the feature stands for, and how clear that is (0 to 2). For an encoder that
    averages its token vectors, the words that carry the feature are marked in the texts, long texts are shown where
    these words are, and features that get the same label are told apart by them. Features that get no answer keep
    their label.

    \b
    MODEL   an artifact's folder, or "default" for the bundled model
    CORPUS  JSON lines, also .gz: {"docno": "d1", "text": "...", "title": "..."}
            ("_id" will do for "docno", and the title may be missing), or a
            BEIR-style folder with corpus.jsonl[.gz]
    OUT     JSON lines, one per feature:
            {"feature": 17, "label": "sorting by several keys",
             "clarity": 2, "words": ["sort", "keys", ...],
             "model": "qwen3-32b", "examples": ["d4", ...], ...}
    LABELS  the artifact's own format, tab-separated: feature, label, method,
            firing_rate, max_activation, clarity, examples, contrast, and with
            --score detection. Copied over MODEL/labels.tsv, explanations use it.

    \b
    Example:
      pyterrier-xetrieval describe my-model corpus.jsonl hypotheses.jsonl \\
          --model qwen3-32b --base-url http://localhost:8000/v1 \\
          --work my-model.work --score
      cp hypotheses.labels.tsv my-model/labels.tsv

    --score asks 20 questions for each of up to 500 described features that at least 50 documents activate (Cai et
    al. 2026, Fig. 5): does the label fit this text? Half of the texts activate the feature, weakly to strongly, and
    none was shown before. The column detection is the share of right answers; 0.5 is chance. The answers are in OUT's
    .detection.jsonl, each with the activation.

    Every answer is in its file as soon as it has come back, and the vectors are kept. After an interruption the same
    command goes on. Answers of another model, corpus or seed under the same name are refused. The exit code is 1 if
    hypotheses are missing at the end.
    """
    from ..datasets.corpus_file import CorpusFile
    from ..datasets.encoded_corpus import encode_corpus
    from ..labelling import EvidencePassages, detection_scores, feature_samples
    from ..labelling import describe as describe_features
    from ..labelling.quality import with_detection
    from ..labels import FeatureLabels
    from ..store.jsonl import json_lines
    from ..token_vectors import TokenEncoder

    model, encoder = open_model(artifact, device)
    encoded = encode_corpus(CorpusFile(corpus, missing=missing), encoder, work or f"{out}.work", stage="describe", verbose=True)
    samples = feature_samples(model, encoded.index.np_vecs(), docnos=encoded.docnos, seed=seed, verbose=True)
    reader = TokenEncoder(encoder)
    evidence = EvidencePassages(model, reader) if reader.exact else None
    if evidence is None:
        click.echo(f"no words are marked in the texts: of this encoder, {reader.why_leave_out}", err=True)
    labels = describe_features(
        samples, encoded.texts, llm, out, features=features, labels=model.labels, evidence=evidence, verbose=True
    )
    made = labels.table["method"] == f"hypothesis ({llm.name})"
    table = table or out.with_suffix(".labels.tsv")
    labels.write(table)
    click.echo(f"{out}: {int(made.sum())} features described; {table}: {len(labels)} of {labels.dict_size} features have a label")
    if score:
        described, answers = FeatureLabels(labels.table[made], labels.dict_size), out.with_suffix(".detection.jsonl")
        scores = detection_scores(
            samples, encoded.texts, described, llm, answers, seed=seed, evidence=evidence, verbose=True
        )  # fmt: skip
        with_detection(labels, made, scores).write(table)
        told = "no described feature is active in 50 documents and silent in enough others: none was scored"
        if len(scores):
            told = f"detection {scores['accuracy'].mean():.3f} (mean of {len(scores)} features)"
        click.echo(f"{answers}: {told}")
    wanted = samples.counts.nonzero()[0].tolist() if features is None else features
    if set(wanted) - {row["feature"] for _, row in json_lines(out)}:
        click.get_current_context().exit(1)
