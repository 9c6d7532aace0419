"""Every question the paper asks of its features, and a few more, as functions that return tidy data frames."""

from .collection import EmbeddedCollection, ndcg, rank
from .counterfactual import counterfactual
from .embedding import embed, read_embedded
from .erasure import erasure
from .faithfulness import faithfulness_curves, score_shares
from .label_scores import label_scores
from .latency import latency
from .questions import QUESTIONS, evaluate
from .reconstruction import reconstruction
from .retrieval import ablation, retrieval
from .stability import stability
from .steering import steering
from .view_weights import choose_weights

__all__ = [
    "QUESTIONS",
    "EmbeddedCollection",
    "ablation",
    "choose_weights",
    "counterfactual",
    "embed",
    "erasure",
    "evaluate",
    "faithfulness_curves",
    "label_scores",
    "latency",
    "ndcg",
    "rank",
    "read_embedded",
    "reconstruction",
    "retrieval",
    "score_shares",
    "stability",
    "steering",
]
