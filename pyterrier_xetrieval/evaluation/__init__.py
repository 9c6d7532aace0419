"""Every question the paper asks of its features, and a few more, as functions that return tidy data frames."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .collection import EmbeddedCollection, ndcg, rank
    from .corpus_diagnosis import CorpusDiagnosis, diagnose_corpus
    from .counterfactual_sets import counterfactual
    from .diagnosis import Diagnosis, diagnose
    from .embedding import embed, read_embedded
    from .explanation_stability import stability
    from .faithfulness import faithfulness_curves
    from .feature_erasure import erasure
    from .feature_steering import steering
    from .label_accuracy import label_scores
    from .matched_pairs import boilerplate_pairs, length_pairs, spelling_pairs
    from .multi_view_retrieval import ablation, retrieval
    from .query_latency import latency
    from .questions import QUESTIONS, evaluate
    from .reconstruction_quality import reconstruction
    from .retriever_audit import Audit, audit
    from .score_parts import score_shares
    from .view_weights import choose_weights
    from .word_removal import word_faithfulness

__getattr__, __dir__, __all__ = attach(__name__)
