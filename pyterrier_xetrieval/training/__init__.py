"""Programs that make a model: internalizers, the sparse autoencoder, keyword labels, and the default model's recipe."""

from .internalizers import train_internalizers
from .labels import keyword_labels, label_quality
from .sae import fraction_of_variance_explained
from .sparse import SparseReconstruction, dense_reconstruction
from .variants import firing_rates, train_sae

__all__ = [
    "SparseReconstruction",
    "dense_reconstruction",
    "firing_rates",
    "fraction_of_variance_explained",
    "keyword_labels",
    "label_quality",
    "train_internalizers",
    "train_sae",
]
