"""Programs that make a model: teacher texts, internalizers, dictionaries, a whole model from a corpus."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from ..datasets.corpus_file import CorpusFile
    from ..datasets.encoded_corpus import encode_corpus
    from ..llm.engine import Report
    from .dictionary import train_sae
    from .fidelity import firing_statistics, fraction_of_variance_explained
    from .internalizers import train_internalizers
    from .teacher import Teacher
    from .whole_model import train_model

__getattr__, __dir__, __all__ = attach(__name__)
