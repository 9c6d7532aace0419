"""A collection in which one planted feature lifts wrong documents over relevant ones."""

import numpy as np
import pandas as pd

from tests.helpers.builders import identity_sae
from tests.helpers.planted import plain_model

TOPICS, PER_TOPIC = 40, 11  # a query for each topic; its documents, the first one relevant
DISTRACTOR, NEUTRAL, HELPFUL, MISSING = TOPICS, TOPICS + 1, TOPICS + 2, TOPICS + 3  # in every query; the last in every seventh
DIM = TOPICS + 4


def distracted(seed=0):
    """A model, documents to index, topics with ``query_vec`` and qrels; feature ``j`` is coordinate ``j``.

    Of equal topic, wrong documents have more of the distractor, relevant ones more of the helpful feature, and both as much of the
    neutral one. No relevant document has the missing feature, and some wrong ones have a little of it.
    """
    rng = np.random.default_rng(seed)
    docs, queries = [], []
    for t in range(TOPICS):
        query = np.zeros(DIM, np.float32)
        query[[t, DISTRACTOR, NEUTRAL, HELPFUL]] = 1, 0.6, 0.5, 0.3
        query[MISSING] = 0.05 * (t % 7 == 0)
        queries.append(query)
        for i in range(PER_TOPIC):
            vector = np.zeros(DIM, np.float32)
            distracts, helps = (
                (rng.uniform(0.01, 0.1), rng.uniform(0.5, 1)) if i == 0 else (rng.uniform(0.3, 1), rng.uniform(0.01, 0.6))
            )
            vector[[t, DISTRACTOR, NEUTRAL, HELPFUL]] = 1, distracts, rng.uniform(0.01, 0.5), helps
            vector[MISSING] = 0.1 if i % 3 == 1 else 0
            docs.append({"docno": f"d{t}-{i}", "doc_vec": vector})
    topics = pd.DataFrame({"qid": [f"q{t}" for t in range(TOPICS)], "query": [f"about {t}" for t in range(TOPICS)]})
    qrels = pd.DataFrame({"qid": topics["qid"], "docno": [f"d{t}-0" for t in range(TOPICS)], "label": 1})
    return plain_model(identity_sae(DIM, k=5)), docs, topics.assign(query_vec=queries), qrels


def shuffled(qrels, seed=0):
    """Judgements by chance: any of the topic's documents is the relevant one."""
    rng = np.random.default_rng(seed)
    return qrels.assign(docno=[f"{docno[:-1]}{rng.integers(PER_TOPIC)}" for docno in qrels["docno"]])
