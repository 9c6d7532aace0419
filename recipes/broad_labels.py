"""Labels that also fit weak activations: a language model reads texts of every strength and names features again.

Labels that are written from a feature's strongest texts are too narrow for most of the pairs in which the feature is met.
``python -m recipes.broad_labels sheets`` chooses the features that most often stay below the model's least confidence and
writes sheets for a writer; ``judge`` writes sheets for judges, who do not know which label is the old one; ``keep`` puts the
better label of each feature into the table of hypotheses; ``model`` writes the bundled model with these labels and a confidence
fitted on rows of explanations that were read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import SparseAutoencoder, Xetrieval
from pyterrier_xetrieval.core.attribution import explain_vectors
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.core.confidence import Confidence
from pyterrier_xetrieval.evaluation import EmbeddedCollection, read_embedded
from pyterrier_xetrieval.evaluation.collection import rank as ranked
from pyterrier_xetrieval.labelling.judged_confidence import FITS, confidence_of_rows, fit_pairs
from pyterrier_xetrieval.labelling.passages import EvidencePassages
from pyterrier_xetrieval.store.files import replacing
from pyterrier_xetrieval.token_vectors import TokenEncoder
from recipes import data as source
from recipes import default
from recipes.broad_verdicts import KEY, TEXTS, read_labels, read_verdicts, table_of, with_broad_labels
from recipes.calibration import show_errors
from recipes.command import FILE, FOLDER, GROUP, NEW_FILE, Command
from recipes.confidence import BY_ROW, held_out_rows
from recipes.reading_report import kept_rows

TEXT_SETS = ("train_varied", "train_short")
LEAST_WORDS, MOST_WORDS = 3, 60  # of a text that is shown whole
QUERIES = 150  # of each collection, in search of rows that are not shown
LARGEST = 10  # rows of a pair that count
STRENGTHS = ((0.6, 1.01), (0.4, 0.6), (0.25, 0.4), (0.1, 0.25))  # of the feature's maximum
SHOWN, JUDGED = (2, 3, 3, 2), (1, 2, 3, 2)  # texts of each strength for the writer, and others for the judges
NEAR, SILENT = 3, 4  # texts without the feature: like its texts, for the writer; any, for the judges
SHEETS = 15

WRITE = """# Naming features of a text embedding model

A sparse feature is active in some texts and silent in others. Its label must say what it stands for, to a person who reads
"this query and this document share the feature ...". The present labels were written from the strongest texts only, and many are
too narrow for texts where the feature is weak, which is where people meet it most.

Each section has the present label; active texts with their strength in percent of the feature's maximum, the words that carry the
feature between **asterisks**; and three silent texts about similar things.

Write the label that is true of as many of the active texts as possible, the weak ones included, yet says something definite and does
not fit the silent ones just as well. The marked words should be evidence of it. Plain words, 1 to 8; two readings that really are both
there may be joined with " / ". If it is about a form of words, say so. Repeat the present label if it is the best one.
Clarity: 2 if nearly all active texts fit the label, 1 if most do, 0 if they have nothing in common that can be named.

One line for each section, in labels.NAME.tsv: ID<TAB>label<TAB>clarity
"""
JUDGE = """# Does the text fit the label?

Each section has one label or two (A and B) and numbered texts. For every label and every text: 1 if the text is about what the label
says, or of the kind that it says (a part of the text is enough); 0 if not. Judge each label by itself, as written; both may fit a text,
or neither. Of a label with " / " one reading is enough. No benefit of the doubt, and no more strictness with long texts.

One line for each label, in verdicts.NAME.tsv: ID<TAB>A or B<TAB>one digit for each text, in order
"""


@click.group(context_settings=GROUP)
def main() -> None:
    """Name features again by texts of every strength, and keep the labels that judges prefer."""


_WORK = click.option("--work", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the sheets.")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True, help="Folder of collections and training text, with their vectors.")
@click.option("--collections", "names", multiple=True, required=True, help="Whose pairs say which features matter; repeat it.")
@click.option("--exclude-own-id", "own", multiple=True, help="One whose queries are documents: never their own id.")
@click.option("--from", "first", default=0, show_default=True, help="Leave out so many of the features that matter most.")
@click.option("--features", "n", default=600, show_default=True, help="How many to name.")
@_WORK
def sheets(data: Path, names: Sequence[str], own: Sequence[str], first: int, n: int, work: Path) -> None:
    """Choose features and write write_NN.md for a writer."""
    model, vectors = Xetrieval.default(), source.vectors_of(data)
    collections = [read_embedded(data, name, vectors=vectors, exclude_own_id=name in own) for name in names]
    chosen = hidden_features(model, collections).index[first : first + n].tolist()
    texts, active = read_texts(data, model.sae)
    drawn = draw(model, chosen, texts, active)
    reader = EvidencePassages(model, TokenEncoder(model.encoder()))
    shown = [(feature["feature"], row) for feature in drawn for row, _ in feature["shown"]]
    marked = iter(reader.read([texts.texts[row] for _, row in shown], [j for j, _ in shown], max_chars=600))
    sections = []
    for feature in drawn:
        lines = [f"- {round(100 * strength)}% {next(marked).text}" for _, strength in feature["shown"]]
        silent = " | ".join(texts.texts[row] for row in feature["near"])
        head = f"## {feature['feature']} · present label: {feature['label']}"
        sections.append("\n".join([head, *lines, f"silent: {silent}", ""]))
    used = sorted({row for feature in drawn for row in feature["silent"]} | {row for f in drawn for row, _ in f["judged"]})
    write_sheets(work, "write", WRITE, sections, seed=3)
    with replacing(work / TEXTS) as file:
        json.dump({"features": drawn, "texts": {row: (texts.docnos[row], texts.texts[row]) for row in used}}, file)
    click.echo(f"{len(drawn)} features in {SHEETS} sheets in {work}; write their labels, then: judge --work {work}")


@main.command(cls=Command, interrupted="Nothing was written.")
@_WORK
def judge(work: Path) -> None:
    """Write judge_NN.md: the old and the new label of each feature, in random order, and texts that the writer has not seen."""
    drawn, texts = read_drawn(work)
    labels, rng = read_labels(work), np.random.default_rng(8)
    sections, key = [], {}
    for feature in drawn:
        j, old = feature["feature"], feature["label"]
        new, clarity = labels[j]
        asked = [*map(tuple, feature["judged"]), *((row, 0.0) for row in feature["silent"])]
        asked = [asked[i] for i in rng.permutation(len(asked))]
        both = ["old", "new"] if old.lower() != new.lower() else ["old"]
        both = [both[i] for i in rng.permutation(len(both))]
        lines = [f"{name}: {dict(old=old, new=new)[which]}" for name, which in zip("AB", both)]
        lines += [f"{i}. {texts[row][1]}" for i, (row, _) in enumerate(asked, 1)]
        sections.append("\n".join([f"## {j}", *lines, ""]))
        docnos = [texts[row][0] for row, _ in asked]
        key[j] = {"old": old, "new": new, "clarity": clarity, "order": both, "docnos": docnos, "strengths": [a for _, a in asked]}
    write_sheets(work, "judge", JUDGE, sections, seed=8)
    with replacing(work / KEY) as file:
        json.dump(key, file)
    click.echo(f"{len(sections)} sections in {work}; have them judged, then: keep")


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--work", "folders", type=FOLDER, multiple=True, help="Folder of judged sheets; may be repeated.")
@click.option("--kept", type=NEW_FILE, required=True, help="Verdicts as kept: read without --work.")
@click.option("--hypotheses", type=FILE, required=True, help="The old labels.")
@click.option("--out", type=NEW_FILE, help="The new table.")
def keep(folders: Sequence[Path], kept: Path, hypotheses: Path, out: Path | None) -> None:
    """Say which labels judges prefer, and write the table of hypotheses with the better label of each feature."""
    if folders:
        read = [row for folder in folders for row in read_verdicts(folder)]
        with replacing(kept) as file:
            file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in read) + "\n]\n")
    verdicts = json.loads(kept.read_text(encoding="utf-8"))
    click.echo(table_of(verdicts).round(3).to_string())
    if out is not None:
        table = with_broad_labels(pd.read_csv(hypotheses, sep="\t", quoting=3), verdicts)
        with replacing(out) as file:
            table.to_csv(file, sep="\t", index=False, quoting=3)


@main.command(cls=Command, interrupted="Nothing was written.")
@click.option("--data", type=FOLDER, required=True, help="Folder of the training text's SOURCE.md files.")
@click.option("--hypotheses", type=FILE, required=True, help="What keep wrote.")
@click.option("--kept", type=FILE, required=True, help="The verdicts that it kept.")
@click.option(
    "--run", "runs", type=(FILE, str), multiple=True, required=True, metavar="FILE FORM", help="A reading, and which form."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the artifact; must not exist.")
def model(data: Path, hypotheses: Path, kept: Path, runs: Sequence[tuple[Path, str]], out: Path) -> None:
    """Write the bundled model with other labels and a confidence fitted on readings; everything else stays."""
    if out.exists():
        raise FileExistsError(f"{out} already exists; choose another path or remove it first")
    earlier = Xetrieval.default()
    found, read = confidence_of_runs(runs, earlier.labels.confidence, BY_ROW[-2])
    labels = default.read_labels(hypotheses, earlier.sae.dict_size, found)
    verdicts, now = json.loads(kept.read_text(encoding="utf-8")), labels.table.set_index("feature")["label"]
    new = sum(now[row["feature"]] == row["new"] != row["old"] for row in verdicts)
    shares = {name: own.dropna().to_dict() for name, own in table_of(verdicts)[["old", "new"]].round(3).items()}
    facts = earlier.meta["training"] | {
        "broad_labels": {"read": len(verdicts), "new": new, "fits": shares},
        "labels": default.label_facts(labels), "rows_read": {"verdicts": len(read), "pairs": read["pair"].nunique()},
    }  # fmt: skip
    written = default.write_artifact(
        out, internalizers=earlier.internalizers, sae=earlier.sae, labels=labels, facts=facts, vectors=earlier.meta["vectors"],
        min_confidence=earlier.min_confidence,
        sources={name: (data / name / "SOURCE.md").read_text(encoding="utf-8") for name in default.SOURCES},
    )  # fmt: skip
    click.echo(f"{json.dumps(found.to_dict())}\nwrote {written}")


def confidence_of_runs(
    runs: Sequence[tuple[Path, str]], start: Confidence, use: Sequence[str]
) -> tuple[Confidence, pd.DataFrame]:
    """The confidence fitted on what judges said of rows in several readings, and these rows; prints its errors.

    Args:
        runs: files that recipes.reading score has written, each with the form whose rows count.
        use: names of the weights.
    """
    read = pd.concat([kept_rows(path, form) for path, form in runs], ignore_index=True)
    found = fit_pairs(read, start, use)
    held, fits = held_out_rows(read, start, 0, use), (read["verdict"] == FITS).to_numpy(np.float64)
    before = confidence_of_rows(start, read, use)
    show_errors("rows", {"as before": (before, fits), "fitted on other pairs": (held, fits)})
    return found, read


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
    model: Xetrieval, features: Sequence[int], texts: Texts, active: Active, *, shown: Sequence[int] = SHOWN,
    judged: Sequence[int] = JUDGED,
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


if __name__ == "__main__":
    main(prog_name="python -m recipes.broad_labels")
