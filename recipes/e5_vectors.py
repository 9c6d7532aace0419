"""What the recipe of :mod:`.e5` encodes: which texts, cut where, under which names; and the vectors read again.

A folder of vectors holds, beside ``NAME.f16.npy`` and ``NAME.q.f16.npy`` of collections, ``teacher_texts.f16.npy`` and
``teacher_texts.ASPECT.f16.npy``, samples of the training text as ``NAME.sample.f16.npy`` with their ids, and
``NAME.ASPECT.f16.npy`` of a collection whose documents a language model has described. Rows are in file order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from pyterrier_xetrieval import SentenceEncoder
from pyterrier_xetrieval.store.files import replacing
from pyterrier_xetrieval.store.vectors import read_unit_vectors
from recipes.data import read_jsonl, written_texts
from recipes.default import LEAVE_OUT

PREFIXES = {"query": "query: ", "document": "passage: "}
MAX_TOKENS, BATCH, BLOCK = 256, 16, 512
TEACHER, ASPECTS = "teacher_texts", ("summary", "purpose", "qa")
SAMPLES = {"train_short": 4000, "train_varied": 5000}  # drawn in this order
ASKED = ("train_short",)  # encoded as queries are
DOCUMENT_WORDS, WRITTEN_WORDS, SAMPLE_WORDS = 100, 120, 60  # of training text: one processor encodes few words a second
OWN_ID = ("arguana", "birco_arguana")  # collections whose queries are documents


class Texts(NamedTuple):
    """Texts for one file: ``stem`` of its name, ``side`` of the encoder, what gives the texts; ``ids`` of a sample."""

    stem: str
    side: str
    read: Callable[[], list[str]]
    ids: Sequence[str] = ()


def open_encoder(folder: Path) -> SentenceEncoder:
    """The encoder as this recipe uses it: with E5's prefixes, unit length, and texts cut at 256 tokens."""
    return SentenceEncoder(folder, prompts=PREFIXES, max_seq_length=MAX_TOKENS, normalize=True, batch_size=BATCH, device="cpu")


def text_of(row: dict) -> str:
    """What is encoded of a {_id, title, text} row."""
    return f"{row.get('title') or ''} {row.get('text') or ''}".strip()


def first_words(text: str, words: int) -> str:
    return " ".join(text.split()[:words])


def sampled(data: Path) -> dict[str, list[dict]]:
    """The rows of each sample, without ids that are evaluated, in file order; the same ones for the same data."""
    rng, found = np.random.default_rng(0), {}
    for name, n in SAMPLES.items():
        rows = [row for row in read_jsonl(data / name / "corpus.jsonl.gz") if not row["_id"].startswith(LEAVE_OUT)]
        found[name] = [rows[i] for i in np.sort(rng.permutation(len(rows))[:n])]
    return found


def written(data: Path, name: str) -> dict[str, list[str]]:
    """By aspect, the texts that a language model wrote about the documents of a collection, in the documents' order."""
    ids = [row["_id"] for row in read_jsonl(data / name / "corpus.jsonl.gz")]
    by_aspect = written_texts(data / name / "reasoning.jsonl.gz")
    return {aspect: [texts[i] for i in ids] for aspect, texts in by_aspect.items()}


def has_texts(data: Path, name: str) -> bool:
    """Whether a language model has written about the documents of a collection."""
    return (data / name / "reasoning.jsonl.gz").is_file()


def collections(data: Path) -> list[str]:
    """Folders with documents, queries and judgements that are no training text."""
    return sorted(path.parent.name for path in data.glob("*/qrels.tsv") if not path.parent.name.endswith("_train"))


def wanted(data: Path, only: Sequence[str] = ()) -> Iterator[Texts]:
    """What is encoded, the training text first, then the collections by name; or ``only`` these, in their order."""
    samples: dict[str, list[dict]] = {}
    for name in only or (TEACHER, *SAMPLES, *collections(data)):
        if name == TEACHER:
            rows = read_jsonl(data / TEACHER / "corpus.jsonl.gz")
            yield Texts(TEACHER, "document", lambda rows=rows: [first_words(text_of(row), DOCUMENT_WORDS) for row in rows])
            for aspect, texts in written(data, TEACHER).items():
                yield Texts(f"{TEACHER}.{aspect}", "document", lambda texts=texts: [first_words(t, WRITTEN_WORDS) for t in texts])
        elif name in SAMPLES:
            samples = samples or sampled(data)
            yield Texts(
                f"{name}.sample", "query" if name in ASKED else "document",
                lambda rows=samples[name]: [first_words(text_of(row), SAMPLE_WORDS) for row in rows],
                [row["_id"] for row in samples[name]],
            )  # fmt: skip
        else:
            for stem, side, file in ((f"{name}.q", "query", "queries"), (name, "document", "corpus")):
                yield Texts(stem, side, lambda p=data / name / f"{file}.jsonl.gz": [text_of(row) for row in read_jsonl(p)])
            if has_texts(data, name):
                for aspect, texts in written(data, name).items():
                    yield Texts(f"{name}.{aspect}", "document", lambda texts=texts: texts)


def encode(data: Path, encoder: SentenceEncoder, out: Path, only: Sequence[str] = ()) -> None:
    """Writes what is not there yet, a block of 512 texts at a time; the same call goes on after an interruption."""
    out.mkdir(parents=True, exist_ok=True)
    for texts in wanted(data, only):
        path = out / f"{texts.stem}.f16.npy"
        if path.is_file():
            click.echo(f"{path.name}: kept")
            continue
        if texts.ids:
            with replacing(out / f"{texts.stem}.json") as file:
                json.dump(texts.ids, file)
        vectors = _in_blocks(texts.read(), encoder.encode_queries if texts.side == "query" else encoder.encode_docs, path)
        click.echo(f"{path.name}: {len(vectors)} texts")


def _in_blocks(texts: list[str], encode: Callable[[list[str]], np.ndarray], path: Path) -> np.ndarray:
    """The vectors of texts, float16 ``[n, m]``, written to ``path``; finished blocks are kept beside it until then."""
    parts, blocks = path.with_name(f"{path.name}.parts"), []
    parts.mkdir(exist_ok=True)
    for start in range(0, len(texts), BLOCK):
        part = parts / f"{start}.npy"
        if not part.is_file():
            with replacing(part, "wb") as file:
                np.save(file, encode(texts[start : start + BLOCK]).astype(np.float16))
        blocks.append(np.load(part))
    vectors = np.concatenate(blocks)
    with replacing(path, "wb") as file:
        np.save(file, vectors)
    shutil.rmtree(parts)
    return vectors


def read(vectors: Path, stem: str, n: int | None = None) -> np.ndarray:
    """float32 ``[n, m]`` of one file."""
    return read_unit_vectors(vectors / f"{stem}.f16.npy", n, f"texts of {stem}", stage="e5")


def encoded_samples(vectors: Path) -> dict[str, np.ndarray]:
    """float32 ``[n, m]`` of each sample of training text."""
    return {name: read(vectors, f"{name}.sample") for name in SAMPLES}


def encoded_collections(data: Path, vectors: Path) -> list[str]:
    """Collections whose documents and queries both have vectors."""
    return [n for n in collections(data) if all((vectors / f"{stem}.f16.npy").is_file() for stem in (n, f"{n}.q"))]
