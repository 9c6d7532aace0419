"""Explains dense retrieval inside PyTerrier pipelines: Xetrieval (Cai et al. 2026, arXiv:2605.29507) and beyond."""

__version__ = "0.1.0"

from .checkpoints import read_released, read_sae, write_sae
from .core.sae import SparseAutoencoder, SparseCodes
from .datasets import beir_folder, benchmark, pool, pydocs, sample
from .encoders import MiniLM, SentenceEncoder
from .explanation import Explanation, explanation_frame
from .index import XetrievalIndex
from .labels import FeatureLabels
from .model import Xetrieval
from .stages.explain import SAEExplainer
from .stages.internalize import ReasoningInternalizer
from .stages.intervene import FeatureIntervention
from .stages.load import VectorLoader
from .stages.reason import CoTReasoner
from .stages.reconstruct import Reconstructor
from .stages.score import FoldViews, MultiViewScorer

__all__ = [
    "CoTReasoner",
    "Explanation",
    "FeatureIntervention",
    "FeatureLabels",
    "FoldViews",
    "MiniLM",
    "MultiViewScorer",
    "ReasoningInternalizer",
    "Reconstructor",
    "SAEExplainer",
    "SentenceEncoder",
    "SparseAutoencoder",
    "SparseCodes",
    "VectorLoader",
    "Xetrieval",
    "XetrievalIndex",
    "beir_folder",
    "benchmark",
    "explanation_frame",
    "pool",
    "pydocs",
    "read_released",
    "read_sae",
    "sample",
    "write_sae",
]
