"""The training texts and vectors of a data folder: documents, and what a language model wrote about them."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pyterrier_xetrieval.sentence_encoders import MiniLM
from pyterrier_xetrieval.store.files import replacing
from pyterrier_xetrieval.store.vectors import read_unit_vectors

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_QUESTION = re.compile(r"Q:\s*(.+?)\s*(?:A:|$)", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z]{2,}")


def read_jsonl(path) -> list[dict]:
    """The rows of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_documents(data, name: str, *, leave_out: tuple[str, ...] = ()) -> tuple[list[dict], np.ndarray]:
    """Documents of collection ``name`` and their vectors, less the ids that start with one of ``leave_out``.

    Args:
        data: folder with ``NAME/corpus.jsonl.gz`` ({_id, title, text}) and ``embeddings/minilm/NAME.f16.npy``.
        name: the collection.
        leave_out: prefixes of document ids to drop, with their vectors.

    Returns:
        the documents and a float32 array ``[n, m]``, rows in the same order.
    """
    documents = read_jsonl(Path(data) / name / "corpus.jsonl.gz")
    vectors = read_vectors(data, name, len(documents))
    keep = [i for i, doc in enumerate(documents) if not doc["_id"].startswith(leave_out)] if leave_out else None
    if keep is None:
        return documents, vectors
    return [documents[i] for i in keep], vectors[keep]


def vectors_of(data) -> Path:
    """The folder of the vectors."""
    return Path(data) / "embeddings" / "minilm"


def read_vectors(data, name: str, n: int | None = None) -> np.ndarray:
    """``embeddings/minilm/NAME.f16.npy`` as :func:`~pyterrier_xetrieval.store.vectors.read_unit_vectors` reads it; ``n`` vectors unless None."""
    return read_unit_vectors(vectors_of(data) / f"{name}.f16.npy", n, f"texts of {name}", stage="read_vectors")


def read_packed_vectors(data, name: str) -> np.ndarray:
    """``embeddings/minilm/NAME.int8.npz`` (``q`` int8 ``[n, m]``, ``scale`` float32 ``[n]``), each of length 1; float32 ``[n, m]``."""
    n = len(read_jsonl(Path(data) / name / "corpus.jsonl.gz"))
    with np.load(vectors_of(data) / f"{name}.int8.npz") as packed:
        vectors = packed["q"].astype(np.float32) * packed["scale"][:, None]
    if len(vectors) != n:
        raise ValueError(f"read_packed_vectors expects a vector for each of {n} texts of {name}, found {len(vectors)}")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def written_texts(path) -> dict[str, dict[str, str]]:
    """The texts that a language model wrote about documents, by aspect and the document's id; aspects in order of appearance."""
    texts: dict[str, dict[str, str]] = {}
    for row in read_jsonl(path):
        texts.setdefault(row["aspect"], {})[str(row["_id"])] = row["text"]
    return texts


def read_teacher_texts(data) -> tuple[list[dict], np.ndarray, dict[str, list[str]], dict[str, np.ndarray]]:
    """Documents with a teacher text per aspect: documents, z ``[n, m]``, texts and vectors ``[n, m]`` by aspect.

    The aspects are those found in ``teacher_texts/reasoning.jsonl.gz``, in order of appearance.
    """
    documents, z = read_documents(data, "teacher_texts")
    texts = written_texts(Path(data) / "teacher_texts" / "reasoning.jsonl.gz")
    vectors = {aspect: read_vectors(data, f"teacher_texts.{aspect}") for aspect in texts}
    return documents, z, {a: [t[d["_id"]] for d in documents] for a, t in texts.items()}, vectors


def questions_of(texts) -> list[str]:
    """The question lines (``Q: … A: …``) of question-answer texts."""
    return [question for text in texts for question in _QUESTION.findall(text)]


def sentences_of(text: str) -> list[str]:
    """Sentences of a text that read like prose: of 5 to 30 words, mostly letters."""
    found = []
    for sentence in _SENTENCE_END.split(" ".join(text.split())):
        words = sentence.split()
        if 5 <= len(words) <= 30 and len(_WORD.findall(sentence)) >= 0.6 * len(words):
            found.append(sentence)
    return found


def embed_texts(texts, *, cache=None, encoder=None, verbose: bool = False) -> np.ndarray:
    """L2-normalised vectors of ``texts``, float32 ``[n, m]``.

    Args:
        texts: list of strings.
        cache: folder; vectors are kept there (float16) under a digest of the texts and read again next time.
        encoder: a sentence-transformers model; default that of :class:`~pyterrier_xetrieval.MiniLM` on the CPU.
        verbose: show the encoder's progress.
    """
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    with TemporaryDirectory() if cache is None else nullcontext(cache) as folder:
        path = Path(folder) / f"short_texts.{digest}.f16.npy"
        if not path.exists():
            # not MiniLM's own vectors: their norms are made 1 once more, which moves some of them in the last digit of float16
            encoder = encoder or MiniLM(device="cpu").model
            vectors = encoder.encode(
                texts, batch_size=256, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=verbose
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, "wb") as file:
                np.save(file, vectors.astype(np.float16))
        return read_unit_vectors(path, len(texts), stage="embed_texts")
