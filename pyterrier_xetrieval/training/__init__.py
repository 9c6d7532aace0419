"""Programs that make a model: teacher texts, internalizers, sparse autoencoders and labels."""

from ..datasets.corpus_file import CorpusFile
from ..labelling.hypotheses import describe
from ..labelling.keywords import keyword_labels, keyword_quality
from ..labelling.quality import detection_scores, intruder_detection
from ..labelling.samples import FeatureSamples, feature_samples
from ..llm.endpoints import EndpointLLM, FunctionLLM, TeacherError
from ..llm.local import TransformersLLM
from ..llm.prompts import PROMPTS
from .dictionary import train_sae
from .encoded_corpus import encode_corpus
from .fidelity import firing_rates, fraction_of_variance_explained
from .internalizers import train_internalizers
from .teacher import Report, Teacher
from .whole_model import train_model

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
