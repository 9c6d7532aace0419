"""Explains dense retrieval inside PyTerrier pipelines: Xetrieval (Cai et al. 2026, arXiv:2605.29507) and beyond."""

__version__ = "0.1.0"

from .checkpoints import read_released, read_sae, write_sae
from .cot import CoTReasoner
from .datasets import beir_folder, benchmark, pool, pydocs, sample
from .encoder import MiniLM, SentenceEncoder
from .explainer import SAEExplainer
from .explanation import Explanation, explanation_frame
from .index import XetrievalIndex
from .internalizer import ReasoningInternalizer
from .intervention import FeatureIntervention
from .labels import FeatureLabels
from .model import Xetrieval
from .reconstruction import Reconstructor
from .sae import SparseAutoencoder, SparseCodes
from .scorer import FoldViews, MultiViewScorer
from .vectors import VectorLoader

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
