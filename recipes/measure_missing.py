"""Measures what a folder of result files lacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import pandas as pd

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import EmbeddedCollection, choose_weights
from pyterrier_xetrieval.evaluation.dictionaries import compared_dictionaries
from pyterrier_xetrieval.evaluation.query_latency import cot_seconds
from pyterrier_xetrieval.llm import TransformersLLM
from pyterrier_xetrieval.llm.endpoints import LanguageModel
from pyterrier_xetrieval.llm.prompts import digest as digest_of
from recipes.judged_labels import PROMPTS, SIZES, Source, judged
from recipes.measured_collections import Sources, digest, explicit_views
from recipes.page_questions import LATENCY_SIZES, compares_dictionaries, measure_one, question_options
from recipes.result_files import known, measured_facts, write_result

COT_TEXTS, COT_TOKENS = 24, 128
JUDGED = "judged"  # needs a language model, which the other questions do not


class Run:
    """Measures what is not there yet; ``base`` is the part of every file's key that all of them share."""

    def __init__(self, model, sources: Sources, out: Path, base: dict, command: str):
        self.model, self.sources, self.out, self.base, self.command = model, sources, out, base, command

    def choose(self, name: str) -> list[float]:
        """Weights of the views, chosen on this collection; the table of all sets tried is kept beside the answers."""
        path = self.out / f"weights.{name}.json"
        key = {**self.base, "question": "weights", "collection": name, "digest": digest(self.sources.open(name)), "options": {}}
        self.answer(path, key, lambda: choose_weights(self.model, self.sources.open(name))[1])
        best = next(row for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if row["chosen"])
        return [best[f"weight_{aspect}"] for aspect in self.model.aspects]

    def all(self, names: Sequence[str], questions: Sequence[str], weights: Sequence[float], raw: Xetrieval | None) -> None:
        largest = max(names, key=lambda name: len(self.sources.open(name).docnos)) if "latency" in questions else None
        for name in names:
            collection, reasoning = self.sources.open(name), self.sources.reasoning(name)
            common = {**self.base, "collection": name, "digest": digest(collection)}
            for question in questions:
                if question == "latency" and name != largest:
                    continue
                options = question_options(question, weights)
                texts = reasoning if question in ("retrieval", "ablation") else None
                compared = raw if compares_dictionaries(question) else None
                key = {**common, "question": question, "options": options, "explicit": texts is not None}
                key["raw_sae"] = None if compared is None else compared.meta["sha256"]["sae.safetensors"]

                def table(question=question, options=options, texts=texts, compared=compared, collection=collection):
                    given = self._given(question, collection, texts, compared)
                    return measure_one(question, self.model, collection, options, given)

                about = {} if compared is None else {"raw_sae": compared.meta.get("training", {})}
                self.answer(self.out / f"{question}.{name}.json", key, table, about=about)

    def cot(self, names: Sequence[str], gguf: Path) -> None:
        """Times the CoT reasoner with a local language model, on the largest collection."""
        name = max(names, key=lambda name: len(self.sources.open(name).docnos))
        collection = self.sources.open(name)
        chosen = np.random.default_rng(self.base["seed"]).permutation(len(collection.docnos))[:COT_TEXTS]
        llm = TransformersLLM(str(gguf.parent), gguf_file=gguf.name, max_tokens=COT_TOKENS)
        options = {"llm": llm.name, "max_tokens": COT_TOKENS, "sizes": list(LATENCY_SIZES)}
        key = {**self.base, "collection": name, "digest": digest(collection), "question": "cot", "options": options}
        table = partial(cot_seconds, llm, collection.read_texts(chosen, stage="measure"), sizes=LATENCY_SIZES)
        self.answer(self.out / f"cot.{name}.json", key, table, more="--questions latency --cot FILE")

    def judged(
        self, names: Sequence[str], llm: LanguageModel, source: Source, n_features: int, raw: Xetrieval | None, answers: Path
    ) -> None:
        """Hypotheses and their detection scores, and mono-semanticity, by a language model."""
        options = {"llm": llm.name, "source": source.name, "source_digest": source.digest(), "n_features": n_features, **SIZES}
        options["prompts"] = digest_of(PROMPTS, 12)
        for name in names:
            collection = self.sources.open(name)
            key = {**self.base, "collection": name, "digest": digest(collection), "question": JUDGED, "options": options}
            key["raw_sae"] = None if raw is None else raw.meta["sha256"]["sae.safetensors"]

            def table(collection=collection, folder=answers / name):
                folder.mkdir(parents=True, exist_ok=True)
                seed = self.base["seed"]
                saes = compared_dictionaries(self.model, None, collection.docs, raw=None if raw is None else raw.sae, seed=seed)
                return judged(
                    self.model, collection, source, llm, folder, saes=saes, n_features=n_features, **SIZES, seed=seed, verbose=True,
                )  # fmt: skip

            more = f"--judge-texts {source.name} --judge-features {n_features} --collections {name} --questions {JUDGED}"
            self.answer(self.out / f"{JUDGED}.{name}.json", key, table, more=more)

    def _given(self, question: str, collection: EmbeddedCollection, texts: Path | None, raw: Xetrieval | None) -> dict:
        """What takes long to get and is only needed when a question is really asked."""
        given = {"seed": self.base["seed"], "raw_sae": None if raw is None else raw.sae}
        if question == "stability":
            given["encoder"] = self.sources.encoder
        if texts is not None:
            given["explicit"] = explicit_views(texts, collection.docnos, self.model.aspects, self.sources.encoder)
        return given

    def answer(
        self, path: Path, key: Mapping, table: Callable[[], pd.DataFrame], *, more: str = "", about: Mapping | None = None
    ) -> None:  # fmt: skip
        """Writes the file unless it is there with the same key.

        ``more`` ends the command that repeats it, ``about`` are facts beside the usual ones.
        """
        if known(path, key):
            click.echo(f"{path.name}: kept")
            return
        collection, start = self.sources.open(key["collection"]), time.perf_counter()
        found = table()
        facts = {
            "documents": len(collection.docnos), "queries": len(collection.qids),
            **measured_facts(f"{self.command} {more or '--questions ' + key['question']}", time.perf_counter() - start),
            "own_weights": list(self.model.weights.values()), **(about or {}),
        }  # fmt: skip
        write_result(path, key, facts, found.drop(columns="collection", errors="ignore"))
        click.echo(f"{path.name}: {facts['seconds']} s")
