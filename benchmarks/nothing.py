"""Do explanations find nothing where nothing is? Labels and pairs that are shuffled, and dictionaries that have seen no data.

``python benchmarks/nothing.py`` takes the bundled model, encoder and collection, and prints a table; ``--documents`` and
``--pairs`` say how many. The reader of the second part is a program that counts words, and no person or language model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.core.codes import encode_view
from pyterrier_xetrieval.core.sae import SparseAutoencoder
from pyterrier_xetrieval.evaluation.bootstrap import estimate
from pyterrier_xetrieval.evaluation.collection import EmbeddedCollection
from pyterrier_xetrieval.evaluation.dictionaries import untrained
from pyterrier_xetrieval.evaluation.label_accuracy import keyword_scores, texts_by_stem
from pyterrier_xetrieval.labelling.keywords import keyword_labels, stem, tokens

sys.path.append(str(Path(__file__).parent.parent))  # recipes/ is not installed

from recipes.reading_baselines import untrained_form
from recipes.reading_choices import Choice, choices_of, identification_scores
from recipes.reading_pairs import draw_pairs
from recipes.reading_rows import ModelForm

SEEDS = (0, 1, 2)
COLUMNS = ["question", "what", "value", "low", "high", "n"]


def embedded(model: Xetrieval, documents: int, queries: int) -> EmbeddedCollection:
    """Documents of the bundled collection, spread over all of it, and queries that one of them answers."""
    dataset, encoder = pydocs(), model.shared_encoder
    corpus = list(dataset.get_corpus_iter(verbose=False))
    topics = dataset.get_topics()
    answers = dataset.get_qrels().query("label > 0").groupby("qid")["docno"].apply(set)
    topics = topics[topics["qid"].isin(answers.index)].head(queries)
    gold = set().union(*(answers[qid] for qid in topics["qid"]))
    others = [d for d in corpus if d["docno"] not in gold]
    chosen = [d for d in corpus if d["docno"] in gold] + others[:: max(1, len(others) // documents)][:documents]
    docnos, texts = [d["docno"] for d in chosen], [d["text"] for d in chosen]
    rows = {docno: i for i, docno in enumerate(docnos)}
    return EmbeddedCollection(
        "pydocs", np.array(docnos), encoder.encode_docs(texts), topics["qid"].to_numpy(str),
        encoder.encode_queries(topics["query"].tolist()),
        [{rows[d]: 1 for d in answers[qid] if d in rows} for qid in topics["qid"]],
        [np.empty(0, np.int64)] * len(topics), texts=lambda own: [texts[i] for i in own], query_texts=topics["query"].to_numpy(str),
    )  # fmt: skip


def detection(
    collection: EmbeddedCollection, saes: Mapping[str, SparseAutoencoder], labels: Mapping[str, Sequence[str]] | None = None,
    *, seeds: Iterable[int] = SEEDS, min_active: int = 5,
) -> pd.DataFrame:  # fmt: skip
    """Balanced accuracy of "the text holds a word of the label", with labels in their places and shuffled.

    Keyword labels are written from one half of the texts and scored on the other; labels that are given are scored there too.

    Args:
        saes: dictionaries by name; labels: of some of them, ``D`` texts each, beside the keywords.
    """
    texts, rows, n = collection.read_texts(stage="detection"), [], len(collection.docnos)
    written, scored = np.array_split(np.random.default_rng(0).permutation(n), 2)
    words = texts_by_stem([texts[i] for i in scored])
    for name, sae in saes.items():
        codes = encode_view(sae, np.asarray(collection.docs), refit=False, batch_size=512)
        ids, values = codes.ids, codes.activations
        found = keyword_labels([texts[i] for i in written], ids[written], values[written], dict_size=sae.dict_size)
        kinds = {"keywords": [found.name(j) for j in range(sae.dict_size)]}
        if labels and name in labels:
            kinds["labels that ship"] = list(labels[name])
        for kind, own in kinds.items():
            orders = {"": [np.arange(len(own))], ", shuffled": [_shuffled(own, seed) for seed in seeds]}
            for how, shuffles in orders.items():
                tables = [
                    keyword_scores([own[j] for j in order], words, ids[scored], values[scored], min_active=min_active)
                    for order in shuffles
                ]
                table = pd.concat(tables).query("measure == 'balanced_accuracy' and label != ''")
                numbers = estimate(table["value"].to_numpy(), clusters=table["feature"].to_numpy())
                rows.append({"question": "detection", "what": f"{name}: {kind}{how}", **numbers})
    return pd.DataFrame(rows)[COLUMNS]


def _shuffled(labels: Sequence[str], seed: int) -> np.ndarray:
    """An order in which every label that is none stays, and the others change places."""
    order, named = np.arange(len(labels)), np.flatnonzero([bool(label) for label in labels])
    order[named] = named[np.random.default_rng(seed).permutation(len(named))]
    return order


def identification(choices: Sequence[Choice], *, seed: int = 0) -> pd.DataFrame:
    """How often a program that counts words finds the pair that rows are of; chance is one in five.

    It takes the pair whose texts hold most of the rows' words; of pairs with as many, one by lot.
    """
    rng, rows = np.random.default_rng(seed), []
    for choice in choices:
        asked = {stem(word) for row in choice.rows for word in tokens(row.text)}
        held = [len(asked & {stem(word) for word in tokens(f"{pair.query} {pair.document}")}) for pair in choice.pairs]
        best = np.flatnonzero(np.array(held) == max(held))
        right = choice.pairs[rng.choice(best)] == choice.pair
        rows.append((choice.form, choice.among, choice.pair.collection, choice.pair.id, right))
    chosen = pd.DataFrame(rows, columns=["form", "among", "collection", "pair", "right"])
    found = identification_scores(chosen, seed=seed).query("collection == 'all'")
    return found.rename(columns={"form": "what"}).assign(question="identification")[COLUMNS]


def shuffled_pairs(choices: Sequence[Choice], *, seed: int = 0) -> list[Choice]:
    """The same questions, each with the rows of another one that does not have its pair among the five."""
    rng, out = np.random.default_rng(seed), []
    for choice in choices:
        others = [other for other in choices if other.pair not in choice.pairs]
        if others:
            other = others[rng.integers(len(others))]
            out.append(replace(choice, rows=other.rows, form=f"{choice.form}, shuffled"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=60)
    options = parser.parse_args()
    model = Xetrieval.default()
    collection = embedded(model, options.documents, 2 * options.pairs)
    saes = {"bundled": model.sae, **{f"untrained {seed}": untrained(model.sae, seed=seed) for seed in SEEDS}}
    names = {"bundled": [model.labels.name(j) for j in range(model.sae.dict_size)]}
    tables = [detection(collection, saes, names)]
    pairs = draw_pairs([collection], options.pairs)
    forms = {"bundled: words · label": ModelForm(model), "bundled: label": ModelForm(model, "label")}
    forms |= {f"untrained {seed}: words": untrained_form(model, seed=seed) for seed in SEEDS}
    for name, form in forms.items():
        choices = choices_of(name, pairs, form.explain(pairs))
        tables.append(identification([*choices, *shuffled_pairs(choices)]))
    print(pd.concat(tables, ignore_index=True).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
