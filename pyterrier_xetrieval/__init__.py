"""Explains dense retrieval inside PyTerrier pipelines: Xetrieval (Cai et al. 2026, arXiv:2605.29507) and beyond."""

from typing import TYPE_CHECKING

from ._lazy import attach

__version__ = "0.1.0"

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .checkpoints import read_released, read_sae, write_sae
    from .core.sae import SparseAutoencoder, SparseCodes
    from .datasets import beir_folder, benchmark, pool, pydocs, sample
    from .evaluation import diagnose, diagnose_corpus
    from .evaluation.retriever_audit import audit
    from .explanation import Explanation
    from .explanation_tables import explanation_frame
    from .index import XetrievalIndex
    from .labels import FeatureLabels
    from .llm.reader import CitingReader
    from .model import Xetrieval
    from .query_tuning import QueryTuning
    from .sentence_encoders import MiniLM, SentenceEncoder
    from .stages.adapt import QueryAdapter
    from .stages.calibrate import QueryCalibration
    from .stages.context import ContextBuilder
    from .stages.explain import SAEExplainer
    from .stages.internalize import ReasoningInternalizer
    from .stages.intervene import FeatureIntervention
    from .stages.link import FeatureLinks
    from .stages.load import VectorLoader
    from .stages.normalize import Normalizer
    from .stages.reason import CoTReasoner
    from .stages.reconstruct import Reconstructor
    from .stages.score import FoldViews, MultiViewScorer
    from .training.tuner import FeatureTuner
    from .viz.cards import show
    from .viz.explorer import explore, to_html

__getattr__, __dir__, __all__ = attach(__name__)
