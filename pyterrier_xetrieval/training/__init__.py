"""Programs that make a model: teacher texts, internalizers, sparse autoencoders and labels."""

from .corpus import CorpusFile
from .describe import describe
from .encoded import encode_corpus
from .fidelity import firing_rates, fraction_of_variance_explained
from .internalizers import train_internalizers
from .label_quality import detection_scores, intruder_detection
from .labels import keyword_labels, keyword_quality
from .llm import EndpointLLM, FunctionLLM, TeacherError
from .local_llm import TransformersLLM
from .own_model import train_model
from .prompts import PROMPTS
from .sae import train_sae
from .samples import FeatureSamples, feature_samples
from .teacher import Report, Teacher

__all__ = [
    "PROMPTS",
    "CorpusFile",
    "EndpointLLM",
    "FeatureSamples",
    "FunctionLLM",
    "Report",
    "Teacher",
    "TeacherError",
    "TransformersLLM",
    "describe",
    "detection_scores",
    "encode_corpus",
    "feature_samples",
    "firing_rates",
    "fraction_of_variance_explained",
    "intruder_detection",
    "keyword_labels",
    "keyword_quality",
    "train_internalizers",
    "train_model",
    "train_sae",
]
