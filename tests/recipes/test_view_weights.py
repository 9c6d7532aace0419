"""Retrieval tasks made from training text, and the weights chosen on them."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Reconstructor, Xetrieval
from pyterrier_xetrieval.evaluation import ndcg, rank
from pyterrier_xetrieval.evaluation.view_weights import choose_weights
from pyterrier_xetrieval.training import train_internalizers
from recipes import fidelity, view_weights
from recipes.view_weights import held_out, questions, sentences, titles
from tests.helpers.builders import unit

pytestmark = pytest.mark.usefixtures("one_thread")
DIM = 384
SAID = ["The oak tree grew very slowly today.", "Many old ships were built with wood.", "Nobody knew how deep the lake was.",
        "Every summer the village held a fair.", "They carried all the stones up there."]  # fmt: skip


def document(name, title="", n=5):
    return {"_id": name, "title": title, "text": " ".join(SAID[:n])}


class Texts(list):
    """Remembers what is encoded; the vector of the i-th text is the i-th axis."""

    def __call__(self, texts):
        self.extend(texts)
        return np.eye(len(self), 64, dtype=np.float32)[-len(texts) :]


@pytest.fixture
def embed():
    return Texts()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder of the recipe's form, with 30 + 30 documents, 20 of which have teacher texts."""
    rng, place = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    vectors = place / "embeddings" / "minilm"
    vectors.mkdir(parents=True)
    posts = [document(f"{'beer' if i < 5 else 'ai'}_{i}", f"post {i // 2}") for i in range(30)]
    prose = [document(f"{('medquad', 'cisi', 'msmarco')[i % 3]}_{i}", "" if i % 3 == 2 else f"case {i}") for i in range(30)]
    taught = posts[5:15] + prose[:10]
    corpora = {
        "train_stackexchange": posts,
        "train_prose": prose,
        "teacher_texts": taught,
        "mutual_train": [document(f"m{i}") for i in range(12)],
    }
    reasoning = [
        {"_id": d["_id"], "aspect": "qa", "text": f"Q: What is {d['_id']}? A: That. Q: Why {d['_id']}? A: So."} for d in taught
    ]

    def write(name, rows):
        with gzip.open(place / name, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    for name, rows in corpora.items():
        (place / name).mkdir()
        write(f"{name}/corpus.jsonl.gz", rows)
        np.save(vectors / f"{name}.f16.npy", unit(rng, len(rows), DIM).astype(np.float16))
    write("teacher_texts/reasoning.jsonl.gz", reasoning)
    np.save(vectors / "teacher_texts.qa.f16.npy", unit(rng, 20, DIM).astype(np.float16))
    write("mutual_train/queries.jsonl.gz", [{"_id": f"q{i}", "text": "what next ?"} for i in range(3)])
    (place / "mutual_train" / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\tm{4 * i}\t1\n" for i in range(3))
    )
    np.save(vectors / "mutual_train.q.f16.npy", unit(rng, 3, DIM).astype(np.float16))
    return place


@pytest.fixture(scope="module")
def tasks(folder):
    return view_weights.training_tasks(folder, cache=folder / "cache")


def test_the_held_out_documents_are_those_of_the_training_of_internalizers():
    """Targets are the vectors themselves but for the rows held out: only then is the validation error that of noise."""
    rng = np.random.default_rng(0)
    z = unit(rng, 40, 8)
    for seed in (0, 3):
        target = z.copy()
        rows = sorted(held_out(40, seed))
        target[rows] = -z[rows]
        _, history = train_internalizers(z, {"a": target}, seed=seed, epochs=0, identity_start=True, hidden=16)
        assert len(rows) == 6 and history["a"]["identity_mse"] == pytest.approx(4, abs=1e-5)


def test_questions_of_held_out_documents_only(embed):
    documents = [document(name) for name in "abcd"]
    texts = ["Q: One? A: yes. Q: Two? A: no.", "Q: Three? A: yes."]
    task = questions(documents, np.eye(4, 64, dtype=np.float32), [{"_id": "c"}, {"_id": "a"}], texts, {0}, embed)
    assert embed == ["One?", "Two?"] and task.judged == [{2: 1}, {2: 1}] and len(task.docs) == 4


def test_a_title_is_one_query_for_all_its_bodies(embed):
    documents = [
        document("a", "x"),
        document("b", "y"),
        document("c", " x "),
        document("d"),
        document("e", "z", n=1),
        document("f", "w"),
    ]
    task = titles("t", documents, {"f"}, embed)
    bodies = [documents[i]["text"] for i in (0, 1, 2, 5)]  # d has no title, e too short a body; f was fitted, no query
    assert embed == [*bodies, "x", "y"] and task.judged == [{0: 1, 2: 1}, {1: 1}]


def test_a_sentence_is_taken_out_of_its_document(embed):
    documents = [document("a"), document("fitted"), document("mutual_1"), document("short", n=2), document("b")]
    z = np.eye(5, 64, dtype=np.float32)
    task = sentences(documents, z, {"fitted"}, np.random.default_rng(0), embed)
    rests, asked = embed[:2], embed[2:]
    assert len(asked) == 2 == len(task.qids) and task.judged == [{0: 1}, {1: 1}]
    for rest, sentence in zip(rests, asked, strict=True):
        assert (
            sentence in SAID and sentence not in rest and len(rest.split()) == len(" ".join(SAID).split()) - len(sentence.split())
        )
    others = {int(row.argmax()) for row in task.docs[2:]}
    assert others == {1, 2, 3}  # not the whole documents that sentences were taken from


def test_six_tasks_of_a_data_folder(tasks, folder):
    names = [
        "questions",
        "titles train_stackexchange",
        "titles train_prose medquad",
        "titles train_prose cisi",
        "sentences",
        "mutual_train",
    ]
    assert [task.name for task in tasks] == names
    assert len(tasks[0].docs) == 55 and len(tasks[0].qids) == 2 * 3  # beer is left out; 15% of 20 documents, two questions each
    assert len(tasks[5].docs) == 12 and len(tasks[5].qids) == 3
    again = view_weights.training_tasks(folder, cache=folder / "cache")
    assert all(np.array_equal(a.docs, b.docs) and a.judged == b.judged for a, b in zip(tasks, again, strict=True))


def test_the_mean_over_the_tasks_decides(tasks):
    model = Xetrieval.default()
    weights, table = choose_weights(model, tasks, grid=(0.0, 0.5))
    columns = [f"weight_{aspect}" for aspect in model.aspects]
    values = table[table["collection"] != "mean"].groupby(columns)["value"].mean()
    means = table[table["collection"] == "mean"].set_index(columns)["value"]
    assert means.to_dict() == pytest.approx(values.to_dict()) and set(table.loc[table["collection"] == "mean", "n"]) == {6}
    assert means[tuple(weights.values())] == means.max() and table["chosen"].sum() == len(tasks) + 1
    alone = choose_weights(model, tasks[1], grid=(0.0, 0.5))[1].set_index(columns)["value"]
    own = table[table["collection"] == tasks[1].name].set_index(columns)["value"]
    shared = alone.index.intersection(own.index)
    assert len(shared) > 1 and alone[shared].tolist() == own[shared].tolist()
    with pytest.raises(ValueError, match="found none"):
        choose_weights(model, [])


def test_the_figures_of_a_collection_for_the_card(folder):
    model = Xetrieval.default()
    collection = fidelity.read_collection(folder, "mutual_train")
    found = fidelity.measure(model.internalizers, model.sae, collection)
    assert (found["docs"], found["queries"]) == (12, 3) and collection.judged == [{0: 1}, {4: 1}, {8: 1}]
    rows, _ = rank(collection.queries, collection.docs, 10)
    assert found["ndcg"] == pytest.approx(ndcg(collection, rows).mean())
    rebuilt = Reconstructor(model, refit=True)(pd.DataFrame({"docno": collection.docnos, "doc_vec": list(collection.docs)}))
    rows, _ = rank(collection.queries, np.stack(rebuilt["doc_vec"]), 10)
    assert found["ndcg_docs_refit"] == pytest.approx(ndcg(collection, rows).mean())
    assert found["fve.original"] < found["fve_refit.original"] < 1 and found["l0_docs"] == model.sae.k
    assert found.keys() == model.meta["training"]["collections"]["nq"].keys()


def test_the_command_prints_every_set_and_the_choice(folder, capsys):
    view_weights.main(["--data", str(folder), "--cache", str(folder / "cache")])
    printed = capsys.readouterr().out
    assert "mutual_train" in printed and "best common weight" in printed
    assert "the model's: {'summary': 0.2, 'purpose': 0.2, 'qa': 0.2}" in printed
