"""Cases for what is made, and not what is done with it: options of stages, models and views of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pyterrier_xetrieval import FeatureLabels, VectorLoader, Xetrieval
from tests.helpers.builders import random_internalizer, random_sae
from tests.helpers.fuzz.outcomes import Source, judged
from tests.helpers.fuzz.world import ASPECTS, WORLD

COUNTS = {"fine": [1, 2, 512, np.int64(7)], "wrong": [0, -1, 1.5, "4", None, True, float("nan"), [1]]}
SHARES = {"fine": [0.0, 0.3, 1.0, np.float32(0.25), 1, None], "wrong": [-0.1, 1.1, float("nan"), "x", [0.5]]}
LEVELS = {"fine": [0.0, 0.2, 3, np.float32(0.5)], "wrong": [10**400, -1e-9, float("nan"), "x", None, [1]]}
MODES = {"fine": ["erase", "keep_only"], "wrong": ["remove", None, 1, ["erase"]]}
TARGETS = {"fine": ["doc", "query", "both"], "wrong": ["documents", None, 3]}
FEATURES = {
    "fine": [[1], (2, 3), np.array([4]), "shared", range(3)],
    "wrong": [[48], "zzzz", [1.5], None, 3, [[1], [2, 3]], [-1]],
}
ALPHAS = {"fine": [0.5, 0, -1, np.float32(2)], "wrong": [10**400, None, "x", float("nan"), float("inf"), [1]]}
FACTORIES = {
    "internalizer": {"batch_size": COUNTS}, "fold": {"batch_size": COUNTS}, "reconstructor": {"batch_size": COUNTS},
    "explainer": {"threshold": LEVELS, "min_confidence": SHARES, "top": COUNTS, "batch_size": COUNTS},
    "evidence": {"batch_size": COUNTS, "missing": {"fine": ["error", "drop"], "wrong": ["skip", None, 1]}},
    "intervention": {"mode": MODES, "target": TARGETS, "features": FEATURES, "batch_size": COUNTS},
    "intervention ": {"alpha": ALPHAS, "target": TARGETS, "features": FEATURES, "batch_size": COUNTS},
}  # fmt: skip
OF_INDEX = {
    "retriever": {"num_results": COUNTS}, "explainer": {"threshold": LEVELS, "min_confidence": SHARES, "top": COUNTS},
    "feature_retriever": {"num_results": COUNTS, "features": {"fine": [None, [1], {2: 0.5}], "wrong": [[], [48], {1: float("inf")}, "zzzz"]}},
}  # fmt: skip


def _drawn(src: Source, choices: dict) -> tuple[dict, str | None]:
    """Options, and which of them is wrong."""
    wrong = src.pick([*choices]) if src.chance(5) else None
    options = {}
    for name, values in choices.items():
        if name == wrong or name in ("features", "alpha") or src.chance(6):
            options[name] = src.pick(values["wrong" if name == wrong else "fine"])
    return options, wrong


def _factory(src: Source, owner, factories: dict) -> bool:
    src.seed()
    name = src.pick([*factories])
    options, wrong = _drawn(src, factories[name])
    if name == "intervention ":
        options["mode"] = "scale"

    def compare(stage):
        again = getattr(owner, name.strip())(**options)
        assert stage == again and hash(stage) == hash(again)
        assert repr(stage) == repr(again) and "\n" not in repr(stage) and len(repr(stage)) < 400
        for option, value in options.items():
            if option not in ("features", "alpha"):
                assert getattr(stage, option) == value
            stage.set_parameter(option, value)
        assert stage == again

    return judged(lambda: getattr(owner, name.strip())(**options), compare, harm=wrong, names=[
        "ReasoningInternalizer", "FoldViews", "Reconstructor", "Explainer", "FeatureEvidence", "FeatureIntervention", "Retriever"])  # fmt: skip


def with_views(src: Source) -> bool:
    src.seed()
    aspects = src.pick([None, (), ["qa"], ["summary", "qa"], ["qa", "summary"], ("summary",)])
    chosen = list(ASPECTS) if aspects is None else list(aspects)
    weights = src.pick([None, 2, 0.5, [0.5] * len(chosen), dict.fromkeys(chosen, -1), 0, np.float32(3), [1] * len(chosen)])
    harm = None
    if src.chance(5):
        harm = src.pick(["aspects", "weights"])
        if harm == "aspects":
            aspects = src.pick([["other"], "qa", ["qa", "qa"], 3, [None], [["qa"]], ["../x"]])
        else:
            weights = src.pick(
                ["x", [1, 2, 3], {"other": 1}, float("nan"), [float("inf")] * len(chosen) or [1], {}, [None], b"x", [[1], [2]]]
            )
            harm = None if not chosen and (weights == {} or isinstance(weights, float)) else harm

    def compare(model):
        own = dict(zip(ASPECTS, (0.5, -0.25)))
        if weights is None:
            expected = {a: own[a] for a in chosen}
        elif isinstance(weights, dict):
            expected = weights
        else:
            expected = dict(zip(chosen, weights if isinstance(weights, list) else [weights] * len(chosen)))
        assert model.weights == {a: float(w) for a, w in expected.items()} and list(model.weights) == chosen
        assert WORLD.model.weights == own

    return judged(lambda: WORLD.model.with_views(aspects, weights), compare, harm=harm, names=["Xetrieval.with_views"])


def from_parts(src: Source) -> bool:
    src.seed()
    parts = {
        "sae": random_sae(8, 24, 3), "internalizers": {"a": random_internalizer(8, 0)}, "encoder": {"name": "x", "dim": 8},
        "labels": src.pick([None, FeatureLabels(pd.DataFrame({"feature": [1], "label": ["x"], "method": "t"}), 24)]),
        "weights": src.pick([None, 1, [2.0], {"a": 0.5}]), "facts": src.pick([None, {"seed": 1}]),
    }  # fmt: skip
    harm = src.pick(["labels", "aspect", "aspect", "dim", "encoder", "weights", "check"]) if src.chance(5) else None
    if harm == "labels":
        parts["labels"] = FeatureLabels.empty(25)
    elif harm == "aspect":
        parts["internalizers"] = {src.pick(["../x", "", "original", "a b", 3, None, "a-b"]): random_internalizer(8, 0)}
        parts["weights"] = None
    elif harm == "dim":
        parts |= src.pick(
            [{"encoder": {"dim": 9}}, {"sae": random_sae(7, 24, 3)}, {"internalizers": {"a": random_internalizer(9, 0)}}]
        )
    elif harm == "encoder":
        parts["encoder"] = src.pick([{}, "x", None, {"dim": "8"}, {"dim": None}, [("dim", 8)]])
    elif harm == "weights":
        parts["weights"] = src.pick([[1, 2], {"b": 1}, float("nan"), "x"])

    def call():
        model = Xetrieval.from_parts(**parts)
        return model.with_check("loud") if harm == "check" else model

    def compare(model):
        assert model.dim == 8 and model.aspects == ("a",) and model.labels.dict_size == 24

    return judged(call, compare, harm=harm, names=["Xetrieval", "expects aspects"])


def stage_arguments(src: Source) -> bool:
    """What a stage is given in the place of a model, an index or a frame."""
    src.seed()
    stage = src.pick(
        [
            WORLD.model.internalizer(),
            WORLD.model.scorer(),
            WORLD.model.explainer(),
            WORLD.model.normalizer(),
            WORLD.index.explainer(),
        ]
    )
    if src.chance(2):
        frame = src.pick([[], [{"qid": "1"}], pd.DataFrame(), pd.DataFrame({"x": [1]}), pd.DataFrame(columns=["qid", "docno"])])
        return judged(
            lambda: stage(frame), lambda out: None, harm="no frame with the columns", names=[type(stage).__name__], either=True
        )
    if src.chance(1):
        other = src.pick([None, "index", 3, WORLD.index, WORLD.model])
        return judged(lambda: VectorLoader(other), lambda out: None, harm="no FlexIndex", names=["VectorLoader"])
    names = {p.name for p, _ in stage._arguments()}
    good = {"batch_size": src.seed() % 999 + 1, "threshold": src.seed() % 999 / 500, "top": src.seed() % 9 + 1}
    own = sorted(names & {*good, "model"})
    right = src.chance(7)
    name = src.pick(own) if right else src.pick([*good, "speed", "model", "index", ""])
    good["model"] = WORLD.model
    value = good[name] if right else src.pick([0, "x", None, -1])
    copy, before = type(stage)(**{p.name: v for p, v in stage._arguments()}), repr(stage)
    harm = "no such parameter" if name not in names else None if right or (name == "model" and value is None) else "a wrong value"

    def compare(_):
        assert getattr(copy, name) == value and copy == type(stage)(
            **{p.name: getattr(copy, p.name) for p, _ in stage._arguments()}
        )

    either = harm is None and not right or (name == "threshold" and value == 0) or name == "index"
    found = judged(lambda: copy.set_parameter(name, value), compare if right else lambda _: None, harm=harm, either=either,
                   names=[type(stage).__name__])  # fmt: skip
    assert repr(stage) == before
    return found


ENTRIES = {
    "options of the model's stages": lambda src: _factory(src, WORLD.model, FACTORIES),
    "options of an index's stages": lambda src: _factory(src, WORLD.index, OF_INDEX),
    "model.with_views(aspects, weights)": with_views,
    "Xetrieval.from_parts()": from_parts,
    "stages of other arguments": stage_arguments,
}
