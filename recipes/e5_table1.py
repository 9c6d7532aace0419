"""Table 1 of the paper (Cai et al. 2026) for one encoder: dense retrieval against dense retrieval with reasoning views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pyterrier_xetrieval.core.internalizer import Internalizer, internalize
from pyterrier_xetrieval.core.views import fold_views
from pyterrier_xetrieval.evaluation import EmbeddedCollection
from pyterrier_xetrieval.evaluation.collection import retrieval_ndcg
from pyterrier_xetrieval.evaluation.significance import holm
from pyterrier_xetrieval.evaluation.view_weights import GRID
from recipes.e5_training import MAIN, WEIGHT
from recipes.pooling import paired, plain_mean, random_effects
from recipes.tables import TRAINED_ON

E5, MINILM = "E5", "MiniLM"  # the encoders
DENSE, ELSEWHERE = "dense", "chosen elsewhere"
SHOWN = (WEIGHT, 1.0)  # weights of every way of training
SUMMARY = "summary"
INTERNALISED, WRITTEN, REPLACED = "internalised summary", "written summary", "all three views, the summary written"


def name_of(way: str, weight: float) -> str:
    """``the model's, weight 0.33``."""
    return f"{way}, weight {weight:g}"


@dataclass
class Table:
    """One encoder's nDCG@10 of every query: by collection, by system.

    Attributes:
        ways: internalizers by the way they were trained; :data:`.e5_training.MAIN` is measured at every weight of the grid.
        ndcg: collection to system to float64 ``[q]``.
        bound: the same for systems of one view, that of a language model's summaries and the internalised one.
    """

    ways: Mapping[str, Mapping[str, Internalizer]]
    ndcg: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    bound: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def measure(self, collection: EmbeddedCollection, summaries: np.ndarray | None = None) -> None:
        """Adds a collection; ``summaries``, float32 ``[n, m]``, are vectors of texts that a language model wrote of it."""
        z = np.asarray(collection.docs)
        own = self.ndcg[collection.name] = {DENSE: retrieval_ndcg(collection, z)}
        for way, modules in self.ways.items():
            views = [z, *(internalize(module, z, batch_size=4096) for module in modules.values())]
            for weight in GRID if way == MAIN else SHOWN:
                folded = fold_views(views, [weight] * (len(views) - 1))
                own[name_of(way, weight)] = retrieval_ndcg(collection, folded)
        if summaries is not None:
            made = {aspect: internalize(module, z, batch_size=4096) for aspect, module in self.ways[MAIN].items()}
            kinds = {INTERNALISED: [made[SUMMARY]], WRITTEN: [summaries], REPLACED: [*(made | {SUMMARY: summaries}).values()]}
            self.bound[collection.name] = {DENSE: own[DENSE]} | {
                name_of(kind, weight): retrieval_ndcg(collection, fold_views([z, *views], [weight] * len(views)))
                for kind, views in kinds.items() for weight in SHOWN
            }  # fmt: skip

    def choose_elsewhere(self) -> dict[str, float]:
        """For each collection the weight with the greatest mean nDCG@10 over the others, each counting the same; adds that system."""
        means = {n: {w: own[name_of(MAIN, w)].mean() for w in GRID} for n, own in self.ndcg.items()}
        chosen = {}
        for name, own in self.ndcg.items():
            others = [by for other, by in means.items() if other != name]
            chosen[name] = max(GRID, key=lambda w: float(np.mean([by[w] for by in others]))) if others else 0.0
            own[ELSEWHERE] = own[name_of(MAIN, chosen[name])]
        return chosen

    def rows(self) -> pd.DataFrame:
        """A row for each collection and system: nDCG, difference to dense, and its test, p by Holm over the collections."""
        chosen, found = self.choose_elsewhere(), []
        for systems in (self.ndcg, self.bound):
            for name, own in systems.items():
                for system, values in own.items():
                    about = {"collection": name, "system": system, "ndcg": values.mean(), "bound": systems is self.bound}
                    if system == ELSEWHERE:
                        about["weight"] = chosen[name]
                    found.append(about | ({"n": len(values)} if system == DENSE else paired(values - own[DENSE])))
        table = pd.DataFrame(found)
        tested = table[~table["bound"] & (table["system"] != DENSE)]
        for rows in tested.groupby("system").groups.values():
            table.loc[rows, "p_holm"] = holm(table.loc[rows, "p"])
        return table

    def pooled(self, *, seed: int = 0) -> pd.DataFrame:
        """Each system's difference to dense over all collections, and over those that are no training text.

        By random effects, and as the plain mean; nothing of fewer than two collections.
        """
        parts = {"all": list(self.ndcg)}
        if unseen := [name for name in self.ndcg if name not in TRAINED_ON]:
            parts |= {"unseen": unseen} if len(unseen) < len(self.ndcg) else {}
        found = []
        for of, names in ((of, names) for of, names in parts.items() if len(names) > 1):
            for system in (s for s in self.ndcg[names[0]] if s not in (DENSE, name_of(MAIN, 0.0))):
                differences = [self.ndcg[name][system] - self.ndcg[name][DENSE] for name in names]
                each = [paired(difference) for difference in differences]
                about = {"system": system, "collections": of}
                if any(own["se"] for own in each):
                    effects = random_effects([own["value"] for own in each], [own["se"] ** 2 for own in each])
                    found.append({**about, "method": "random effects", **effects})
                found.append({**about, "method": "plain mean", **plain_mean(differences, seed=seed)})
        return pd.DataFrame(found)

    def queries(self, systems: Sequence[str]) -> pd.DataFrame:
        """Each query's nDCG@10 by these systems, four digits."""
        return pd.DataFrame([
            {"collection": name, "system": system, "ndcg": [round(float(v), 4) for v in own[system]]}
            for name, own in self.ndcg.items() for system in systems if system in own
        ])  # fmt: skip
