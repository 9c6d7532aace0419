"""Can a language model judge labels at all? Made-up features whose texts anybody can tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pyterrier_xetrieval import FeatureLabels
from pyterrier_xetrieval.evaluation.bootstrap import estimate
from pyterrier_xetrieval.labelling import FeatureSamples, detection_scores, intruder_detection

TOPICS = {
    "chess": [
        "White gives up a pawn in the opening to bring the bishop and both knights out quickly.",
        "Castle early, because a king in the middle of the board is easily checked.",
        "With only rooks and pawns left, most endgames between strong players are drawn.",
        "The grandmaster saw a forced mate in five moves and offered her queen.",
        "A fork attacks two pieces at once, often with a knight.",
        "He studied the Sicilian Defence for months before the tournament.",
        "A passed pawn on the seventh rank is worth almost a rook.",
        "When your clock runs out, you lose the game whatever is on the board.",
        "The bishop pair is strong in open positions with pawns on both wings.",
        "Stalemate saved him: his king could not move, and it was not in check.",
    ],
    "baking bread": [
        "Knead the dough for ten minutes until it is smooth and elastic.",
        "A sourdough starter of flour and water has to be fed every day.",
        "Let the loaf rise in a warm place until it has doubled in size.",
        "Steam in the oven during the first minutes gives a crisp crust.",
        "Rye flour holds little gluten, so these loaves stay dense.",
        "Score the top with a razor blade before it goes into the oven.",
        "Tap the bottom of the loaf: if it sounds hollow, it is done.",
        "Dry yeast is stirred into lukewarm water, never into hot water.",
        "Wholemeal needs more water than white flour because bran soaks it up.",
        "Baguettes stale within a day; a little fat keeps a loaf soft for longer.",
    ],
    "volcanoes": [
        "Lava flowed down the slope for three weeks and buried the road.",
        "Ash from the eruption closed the airports of half a continent.",
        "Magma rises through cracks where two plates drift apart.",
        "The crater lake turned green some days before the mountain erupted.",
        "Pyroclastic flows are faster than cars and hot enough to melt glass.",
        "Geologists measure the tilt of the cone to foresee the next eruption.",
        "The island was born when basalt broke through the floor of the sea.",
        "Pumice is foam of molten rock, full of bubbles and lighter than water.",
        "Sulphur dioxide from the vents cooled the climate for two years.",
        "The caldera formed when the emptied magma chamber fell in.",
    ],
    "playing the guitar": [
        "Press the strings just behind the fret, or the chord will buzz.",
        "New strings go out of tune until they have been stretched.",
        "The barre chord of F is the first great hurdle for beginners.",
        "Fingerpicking with thumb and three fingers keeps the bass line going.",
        "A capo on the second fret raises every open chord by a tone.",
        "He palm-mutes the low E string and lets the high ones ring.",
        "Tablature shows which fret to press, but not how long a note lasts.",
        "Practise changing from G to C slowly, then with a metronome.",
        "The neck bends when the air is dry, and the action rises.",
        "She plays the solo with a slide on her little finger.",
    ],
    "income tax": [
        "Expenses for a home office can be deducted if the room is used for nothing else.",
        "The return must be filed by the end of July of the following year.",
        "Married couples may be assessed together, which pays when one earns much more.",
        "Wages are taxed at source, and too much paid is refunded later.",
        "Capital gains below the yearly allowance need not be declared.",
        "The top rate applies only to the part of your earnings above the threshold.",
        "Keep receipts of donations, since the revenue office may ask for them.",
        "Freelancers pay in advance every quarter, by what they earned last year.",
        "A child allowance lowers what is owed for each dependent.",
        "Whoever fails to declare earnings from abroad risks a heavy fine.",
    ],
    "bees and beekeeping": [
        "The queen lays up to two thousand eggs a day in early summer.",
        "Smoke calms the colony while the frames are lifted out.",
        "Workers dance on the comb to tell the others where nectar is.",
        "Varroa mites weaken the brood and must be treated in autumn.",
        "A swarm hung in the apple tree, with the old queen in its middle.",
        "Honey is ripe when most cells of the comb are capped with wax.",
        "Drones are driven out of the hive before winter.",
        "Feed sugar syrup if the stores of the hive run low.",
        "Rape in flower gives a light honey that sets hard within weeks.",
        "The extractor spins the combs until they are empty.",
    ],
}
"""Topic to texts, in our own words."""


def controls(llm, folder, *, n_texts: int = 4, n_intruders: int = 9, seed: int = 0, verbose: bool = False) -> pd.DataFrame:
    """What a judge makes of features that stand for one topic each, asked as about real features.

    Args:
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel` or a function from prompt to text.
        folder: where its answers are kept (``control_*.jsonl``) for a restart to go on with.
        n_texts: texts of each topic in detection, half of them of other topics.
        n_intruders: texts of a topic beside the intruder.
        seed: of the texts drawn.
        verbose: show progress bars.

    Returns:
        columns labels, measure, value, low, high, n (topics): ``detection`` with the topic as label; ``hits`` and
        ``rejections`` of it; ``hits`` with the label of another topic (``labels`` = ``wrong``), 0 for a judge that
        reads; ``mono_semanticity``, whose chance is 1 / (n_intruders + 1).
    """
    names, texts = list(TOPICS), [text for own in TOPICS.values() for text in own]
    samples = _samples(seed)
    folder, options = Path(folder), {"n_texts": n_texts, "min_docs": 1, "seed": seed, "verbose": verbose}
    true = detection_scores(samples, texts, _labels(names), llm, folder / "control_detection.true.jsonl", **options)
    shifted = _labels([*names[1:], names[0]])
    wrong = detection_scores(samples, texts, shifted, llm, folder / "control_detection.wrong.jsonl", **options)
    options["n_texts"] = n_intruders
    told = intruder_detection(samples, texts, llm, folder / "control_intruder.jsonl", **options)
    rows = [
        {"labels": "true", "measure": "detection", **estimate(true["accuracy"], seed=seed)},
        *({"labels": "true", "measure": m, **estimate(true[m], seed=seed)} for m in ("hits", "rejections")),
        {"labels": "wrong", "measure": "hits", **estimate(wrong["hits"], seed=seed)},
        {"measure": "mono_semanticity", **estimate(told["correct"].astype(float), seed=seed)},
    ]
    return pd.DataFrame(rows)


def _labels(names: list[str]) -> FeatureLabels:
    table = pd.DataFrame({"feature": np.arange(len(names)), "label": names, "method": "control"})
    return FeatureLabels(table, len(names))


def _samples(seed: int) -> FeatureSamples:
    """Each topic a feature, active in its own texts and in no others."""
    rng, starts = np.random.default_rng(seed), np.cumsum([0, *map(len, TOPICS.values())])
    n = starts[-1]
    docs = np.stack([np.arange(a, b) for a, b in zip(starts, starts[1:])])
    others = np.stack([rng.permutation(np.setdiff1d(np.arange(n), own)) for own in docs])
    return FeatureSamples(
        docs=docs, values=np.ones(docs.shape, np.float32), active=rng.permuted(docs, axis=1),
        active_values=np.ones(docs.shape, np.float32), others=others,
        counts=np.full(len(docs), docs.shape[1]), docnos=[str(i) for i in range(n)],
    )  # fmt: skip
