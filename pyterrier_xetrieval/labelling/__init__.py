"""What features mean: samples of texts, keywords, hypotheses, and how good labels are."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .hypotheses import describe
    from .keywords import keyword_labels, keyword_quality
    from .passages import EvidencePassages
    from .quality import detection_scores, intruder_detection
    from .samples import FeatureSamples, feature_samples

__getattr__, __dir__, __all__ = attach(__name__)
