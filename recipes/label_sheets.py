"""Sheets about features for those who name them and those who judge names: which features, which texts, how they are written.

A feature's texts are of every strength, because people meet it most where it is weak. Those that a writer sees are never asked of
a judge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import SparseAutoencoder, Xetrieval
from pyterrier_xetrieval.core.attribution import explain_vectors
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.evaluation import EmbeddedCollection, read_embedded
from pyterrier_xetrieval.evaluation.collection import rank as ranked
from pyterrier_xetrieval.labelling.passages import EvidencePassages
from pyterrier_xetrieval.store.files import replacing
from pyterrier_xetrieval.token_vectors import TokenEncoder
from recipes import data as source
from recipes.command import FOLDER

TEXTS, KEY = "texts.json", "key.json"
TEXT_SETS = ("train_varied", "train_short")
LEAST_WORDS, MOST_WORDS = 3, 60  # of a text that is shown whole
QUERIES = 150  # of each collection, in search of rows that are not shown
LARGEST = 10  # rows of a pair that count
STRENGTHS = ((0.6, 1.01), (0.4, 0.6), (0.25, 0.4), (0.1, 0.25))  # of the feature's maximum
NEAR, SILENT = 3, 4  # texts without the feature: like its texts, for the writer; any, for the judges
SHEETS = 15
Names = Callable[[str, str, np.random.Generator], tuple[list[str], dict[str, Any]]]

WORK = click.option("--work", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the sheets.")


def choosing(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say whose features matter: --data, --collections and --exclude-own-id."""
    for option in (
        click.option("--exclude-own-id", "own", multiple=True, help="One whose queries are documents: never their own id."),
        click.option(
            "--collections", "names", multiple=True, required=True, help="Whose pairs say which features matter; repeat it."
        ),
        click.option("--data", type=FOLDER, required=True, help="Folder of collections and training text, with their vectors."),
    ):
        function = option(function)
    return function


def write_for_writer(
    work: Path, asked: str, data: Path, features: Sequence[int], model: Xetrieval, *, shown: Sequence[int], judged: Sequence[int]
) -> int:
    """Draws texts of these features, writes ``write_NN.md``, and keeps what was drawn for the judges; how many have texts.

    Args:
        asked: what the writer is told.
        shown, judged: texts of each of :data:`STRENGTHS` for the writer, and others for the judges.
    """
    texts, active = read_texts(data, model.sae)
    drawn = draw(model, features, texts, active, shown=shown, judged=judged)
    reader = EvidencePassages(model, TokenEncoder(model.encoder()))
    pairs = [(feature["feature"], row) for feature in drawn for row, _ in feature["shown"]]
    marked = iter(reader.read([texts.texts[row] for _, row in pairs], [j for j, _ in pairs], max_chars=600))
    sections = []
    for feature in drawn:
        lines = [f"- {round(100 * strength)}% {next(marked).text}" for _, strength in feature["shown"]]
        silent = " | ".join(texts.texts[row] for row in feature["near"])
        head = f"## {feature['feature']} · present label: {feature['label']}"
        sections.append("\n".join([head, *lines, f"silent: {silent}", ""]))
    used = sorted({row for feature in drawn for row in feature["silent"]} | {row for f in drawn for row, _ in f["judged"]})
    write_sheets(work, "write", asked, sections, seed=3)
    with replacing(work / TEXTS) as file:
        json.dump({"features": drawn, "texts": {row: (texts.docnos[row], texts.texts[row]) for row in used}}, file)
    return len(drawn)


def write_for_judges(work: Path, asked: str, read: dict[int, tuple[str, int]], names: Names) -> int:
    """Writes ``judge_NN.md`` and the key: names in random order, and texts that the writer has not seen; how many sections.

    Args:
        asked: what the judges are told.
        read: the label and clarity that the writer gave each feature.
        names: of the old and the new label, the names to be judged, and what the key keeps of them, in the order of the sheet.
    """
    drawn, texts = read_drawn(work)
    rng, sections, key = np.random.default_rng(8), [], {}
    for feature in drawn:
        j, old = feature["feature"], feature["label"]
        new, clarity = read[j]
        rows = [*map(tuple, feature["judged"]), *((row, 0.0) for row in feature["silent"])]
        rows = [rows[i] for i in rng.permutation(len(rows))]
        written, kept = names(old, new, rng)
        lines = [f"{chr(65 + i)}: {name}" for i, name in enumerate(written)]
        lines += [f"{i}. {texts[row][1]}" for i, (row, _) in enumerate(rows, 1)]
        sections.append("\n".join([f"## {j}", *lines, ""]))
        docnos, strengths = [texts[row][0] for row, _ in rows], [strength for _, strength in rows]
        key[j] = {"old": old, "new": new, "clarity": clarity, **kept, "docnos": docnos, "strengths": strengths}
    write_sheets(work, "judge", asked, sections, seed=8)
    with replacing(work / KEY) as file:
        json.dump(key, file)
    return len(sections)


def features_that_matter(model: Xetrieval, data: Path, names: Sequence[str], own: Sequence[str]) -> pd.Series:
    """:func:`hidden_features` of the collections in a folder; ``own``: those whose queries are documents."""
    vectors = source.vectors_of(data)
    return hidden_features(model, [read_embedded(data, name, vectors=vectors, exclude_own_id=name in own) for name in names])


def hidden_features(model: Xetrieval, collections: Sequence[EmbeddedCollection]) -> pd.Series:
    """What the rows below the least confidence contribute, by feature, the most first: of each query's best document."""
    labels, confidence, rng = model.labels.table.set_index("feature"), model.labels.confidence, np.random.default_rng(5)
    rows = []
    for collection in collections:
        chosen = rng.permutation(len(collection.queries))[:QUERIES]
        q, docs = (np.asarray(x, np.float32) for x in (collection.queries[chosen], collection.docs))
        best = ranked(q, docs, 1, excluded=[collection.excluded[i] for i in chosen])[0][:, 0]
        pairs = np.arange(len(q))
        parts = explain_vectors(model.sae, q, pairs, [docs[best]], pairs, weights=(1.0,))
        rows.append(pd.DataFrame({
            "collection": collection.name, "query": np.repeat(chosen, np.diff(parts.offsets)), "feature": parts.features,
            "contribution": parts.contribution.clip(min=0), "q": parts.query_activation, "d": parts.document_activation[:, 0],
        }))  # fmt: skip
    table = pd.concat(rows, ignore_index=True).join(labels[["max_activation", "clarity", "detection"]], on="feature")
    strengths = [(table[side] / table["max_activation"]).clip(upper=1) for side in "qd"]
    table["confidence"] = confidence(*strengths, *(table[n] for n in ("clarity", "detection", "contribution")))
    rank = table.groupby(["collection", "query"])["contribution"].rank(ascending=False, method="first")
    hidden = table[(table["confidence"] < model.min_confidence) & (rank <= LARGEST)]
    return hidden.groupby("feature")["contribution"].sum().sort_values(ascending=False, kind="stable")


class Texts(NamedTuple):
    """Short texts with their names and unit vectors, float32 ``[n, m]``."""

    docnos: list[str]
    texts: list[str]
    vectors: np.ndarray


class Active:
    """By feature the rows of the texts that switch it on, and how strongly."""

    def __init__(self, sae: SparseAutoencoder, vectors: np.ndarray):
        codes = encode_view(sae, vectors, refit=False, batch_size=1024)
        rows = np.repeat(np.arange(len(vectors)), codes.ids.shape[1])
        order = np.argsort(codes.ids.ravel(), kind="stable")
        self._rows, self._values = rows[order], codes.activations.ravel()[order]
        self._starts = np.searchsorted(codes.ids.ravel()[order], np.arange(sae.dict_size + 1))

    def __call__(self, feature: int) -> tuple[np.ndarray, np.ndarray]:
        own = slice(self._starts[feature], self._starts[feature + 1])
        on = self._values[own] > 0
        return self._rows[own][on], self._values[own][on]


def read_texts(data: Path, sae: SparseAutoencoder) -> tuple[Texts, Active]:
    """Training texts that are short enough to be shown whole, so that their vectors are of all that a reader sees."""
    docnos, texts, vectors = [], [], []
    for name in TEXT_SETS:
        documents = source.read_jsonl(data / name / "corpus.jsonl.gz")
        own = [" ".join(f"{d.get('title', '')} {d['text']}".split()) for d in documents]
        kept = [i for i, text in enumerate(own) if LEAST_WORDS <= len(text.split()) <= MOST_WORDS]
        vectors.append(source.read_packed_vectors(data, name)[kept])
        docnos += [documents[i]["_id"] for i in kept]
        texts += [own[i] for i in kept]
    found = Texts(docnos, texts, np.concatenate(vectors).astype(np.float32))
    return found, Active(sae, found.vectors)


def draw(
    model: Xetrieval, features: Sequence[int], texts: Texts, active: Active, *, shown: Sequence[int],
    judged: Sequence[int],
) -> list[dict[str, Any]]:  # fmt: skip
    """For each feature: texts for the writer and others for the judges, both of all strengths, and silent ones."""
    facts, rng, drawn = model.labels.table.set_index("feature"), np.random.default_rng(11), []
    for j in features:
        rows, values = active(j)
        strengths = np.minimum(values / facts.loc[j, "max_activation"], 1)
        taken: set[str] = set()
        feature: dict[str, Any] = {"feature": int(j), "label": facts.loc[j, "label"]}
        for name, counts in {"shown": shown, "judged": judged}.items():
            found, missing = [], 0
            for (low, high), count in zip(STRENGTHS, counts):  # what one range lacks, the next weaker one gives
                within = np.flatnonzero((strengths >= low) & (strengths < high))
                own = [k for k in within if texts.texts[rows[k]].lower() not in taken]
                picked = rng.permutation(own)[: count + missing].astype(np.int64)
                missing = count + missing - len(picked)
                for k in picked:
                    taken.add(texts.texts[rows[k]].lower())
                    found.append((int(rows[k]), round(float(strengths[k]), 3)))
            feature[name] = sorted(found, key=lambda text: -text[1])
        silent = np.ones(len(texts.texts), bool)
        silent[rows] = False
        middle = texts.vectors[rows[np.argsort(-strengths)[:200]]].mean(0)
        near = [row for row in np.argsort(-(texts.vectors @ middle))[:400].tolist() if silent[row]][:60]
        feature["near"] = rng.permutation(near)[:NEAR].tolist()
        feature["silent"] = [row for row in rng.permutation(len(silent))[:40].tolist() if silent[row]][:SILENT]
        if feature["shown"] and feature["judged"]:  # else these texts say nothing about it
            drawn.append(feature)
    return drawn


def read_drawn(work: Path) -> tuple[list[dict[str, Any]], dict[int, tuple[str, str]]]:
    """What ``sheets`` chose: the features, and (docno, text) by row."""
    kept = json.loads((work / TEXTS).read_text(encoding="utf-8"))
    return kept["features"], {int(row): tuple(text) for row, text in kept["texts"].items()}


def write_sheets(work: Path, name: str, asked: str, sections: Sequence[str], *, seed: int) -> None:
    """NAME.md says what is asked, NAME_00.md and so on hold the sections in random order."""
    work.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(sections))
    (work / f"{name}.md").write_text(asked, encoding="utf-8")
    for place, own in enumerate(np.array_split(order, SHEETS)):
        (work / f"{name}_{place:02d}.md").write_text("\n".join(sections[i] for i in own), encoding="utf-8")
