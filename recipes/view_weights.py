"""The weights of the default model's views, chosen on retrieval tasks that are made from its training text alone.

``python -m recipes.view_weights --data DIR [--model PATH] [--cache FOLDER]``. DIR is that of
:mod:`.default`. Texts that the tasks take out of documents are encoded; that takes most of the time, and the cache keeps it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import EmbeddedCollection, choose_weights, read_embedded
from pyterrier_xetrieval.evaluation.view_weights import MEAN
from recipes import data
from recipes.default import LEAVE_OUT

HELD_SHARE = 0.15  # of the teacher documents, held out by the training of the internalizers
QUESTIONS = 8  # of a teacher document, at most
TITLED = {"train_stackexchange": "", "train_prose medquad": "medquad", "train_prose cisi": "cisi"}  # by start of the id
MEDQUAD_TITLES, MEDQUAD_DOCUMENTS = 1200, 2000
SENTENCES, OTHERS, LEAST_WORDS = 1500, 22_000, 25
MEDQUAD_SENTENCES = 500  # a third at most
DIALOGUES = 2500


def training_tasks(folder, *, split_seed: int = 0, cache=None, encoder=None, seed: int = 1, verbose: bool = False) -> list:
    """Six collections whose queries and judgements follow from the form of the training text.

    - ``questions``: question lines of the QA teacher texts that the internalizers were not fitted to; the document they
      were written about is relevant, among all documents of ``train_stackexchange`` and ``train_prose``.
    - titles to bodies, of Stack Exchange questions, MedQuAD answers and CISI abstracts: relevant is every body under the
      title. Titles of documents whose teacher texts were fitted are left out.
    - ``sentences``: a sentence, and relevant the rest of its document, among other documents.
    - ``mutual_train``: a dialogue's next utterance.

    Args:
        folder: collections and embeddings, see :mod:`.data`.
        split_seed: with which the internalizers were trained, for it tells which teacher documents they did not see.
        cache: folder that keeps encoded texts; encoder: see :func:`.data.embed_texts`.
        seed: of titles, sentences and dialogues drawn.

    Returns:
        :class:`~pyterrier_xetrieval.evaluation.EmbeddedCollection` objects without texts.

    Example::

        weights, tried = choose_weights(model, training_tasks("data"))
    """

    def embed(texts: list[str]) -> np.ndarray:
        return data.embed_texts(texts, cache=cache, encoder=encoder, verbose=verbose)

    rng = np.random.default_rng(seed)
    parts = {name: data.read_documents(folder, name, leave_out=LEAVE_OUT) for name in ("train_stackexchange", "train_prose")}
    documents = [document for own, _ in parts.values() for document in own]
    z = np.concatenate([vectors for _, vectors in parts.values()])
    taught, _, texts, _ = data.read_teacher_texts(folder)
    held = held_out(len(taught), split_seed)
    fitted = {document["_id"] for i, document in enumerate(taught) if i not in held}
    tasks = [questions(documents, z, taught, texts["qa"], held, embed)]
    for name, prefix in TITLED.items():
        own = [document for document in parts[name.split()[0]][0] if document["_id"].startswith(prefix)]
        if prefix == "medquad":
            own = _some_titles(own, rng)
        tasks.append(titles(f"titles {name}", own, fitted, embed))
    tasks.append(sentences(documents, z, fitted, rng, embed))
    dialogues = read_embedded(folder, "mutual_train", vectors=data.vectors_of(folder))
    chosen = rng.permutation(len(dialogues.qids))[:DIALOGUES]
    return [*tasks, dialogues.select(np.sort(chosen))]


def held_out(n: int, seed: int) -> set[int]:
    """The rows that :func:`~pyterrier_xetrieval.training.train_internalizers` holds out of ``n``."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return set(order[: max(1, round(HELD_SHARE * n))].tolist())


def questions(documents, z: np.ndarray, taught, texts: Sequence[str], held: set[int], embed) -> EmbeddedCollection:
    """Questions about the teacher documents held out, to all documents."""
    row = {document["_id"]: i for i, document in enumerate(documents)}
    pairs = [
        (q, row[taught[i]["_id"]]) for i, text in enumerate(texts) if i in held for q in data.questions_of([text])[:QUESTIONS]
    ]
    return _collection("questions", z, embed([question for question, _ in pairs]), [{at: 1} for _, at in pairs])


def titles(name: str, documents, fitted: set[str], embed) -> EmbeddedCollection:
    """Each title once, to the bodies."""
    documents = [d for d in documents if d["title"].strip() and len(d["text"].split()) >= 8]
    judged: dict[str, dict[int, int]] = {}
    for i, document in enumerate(documents):
        judged.setdefault(document["title"].strip(), {})[i] = 1
    asked = [title for title, rows in judged.items() if not any(documents[i]["_id"] in fitted for i in rows)]
    return _collection(name, embed([d["text"] for d in documents]), embed(asked), [judged[title] for title in asked])


def sentences(documents, z: np.ndarray, fitted: set[str], rng: np.random.Generator, embed) -> EmbeddedCollection:
    """A sentence to the rest of its document, of :data:`SENTENCES` documents among :data:`OTHERS`; no dialogues."""
    queries, rests, at, medquad = [], [], [], 0
    for i in rng.permutation(len(documents)):
        document = documents[i]
        if document["_id"] in fitted or document["_id"].startswith("mutual"):
            continue
        found = data.sentences_of(document["text"])
        if len(found) < 3:
            continue
        sentence = found[rng.integers(len(found))]
        rest = " ".join(document["text"].split()).replace(sentence, " ", 1)
        too_many = document["_id"].startswith("medquad") and medquad > MEDQUAD_SENTENCES
        if len(rest.split()) < LEAST_WORDS or too_many:
            continue
        medquad += document["_id"].startswith("medquad")
        queries.append(sentence)
        rests.append(rest)
        at.append(i)
        if len(queries) == SENTENCES:
            break
    docs = embed(rests)
    asked = embed(queries)
    others = np.setdiff1d(rng.permutation(len(documents))[:OTHERS], at)
    return _collection("sentences", np.concatenate([docs, z[others]]), asked, [{i: 1} for i in range(len(queries))])


def _some_titles(documents, rng: np.random.Generator) -> list[dict]:
    names = sorted({document["title"] for document in documents})
    chosen = {names[i] for i in rng.permutation(len(names))[:MEDQUAD_TITLES]}
    return [document for document in documents if document["title"] in chosen][:MEDQUAD_DOCUMENTS]


def _collection(name: str, docs: np.ndarray, queries: np.ndarray, judged: list[dict[int, int]]) -> EmbeddedCollection:
    return EmbeddedCollection(
        name=name, docnos=np.arange(len(docs)).astype(str), docs=docs, qids=np.arange(len(queries)).astype(str),
        queries=queries, judged=judged, excluded=[np.empty(0, np.int64)] * len(queries),
    )  # fmt: skip


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of collections and embeddings")
    parser.add_argument("--model", help="folder of the artifact; default: the bundled model")
    parser.add_argument("--cache", help="folder that keeps encoded texts")
    parser.add_argument("--seed", type=int, default=1, help="of titles, sentences and dialogues drawn")
    args = parser.parse_args(argv)
    model = Xetrieval(args.model) if args.model else Xetrieval.default()
    tasks = training_tasks(args.data, split_seed=model.meta["training"]["seed"], cache=args.cache, seed=args.seed, verbose=True)
    weights, tried = choose_weights(model, tasks)
    columns = ["step", *(c for c in tried if c.startswith("weight_"))]
    table = (100 * tried.pivot_table(index=columns, columns="collection", values="value", sort=False)).round(2)
    print(table[[*(task.name for task in tasks), MEAN]].to_string())
    common = tried[(tried["step"] == "common") & (tried["collection"] == MEAN)].sort_values("value", kind="stable")
    print(
        f"best common weight {common[columns[1]].iloc[-1]:g}; each aspect's own: {weights}; the model's: {model.meta['weights']}"
    )


if __name__ == "__main__":
    main()
