"""Programs that make a model: teacher texts, internalizers, dictionaries, a whole model from a corpus."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # what editors and type checkers read
    from ..datasets.corpus_file import CorpusFile
    from .dictionary import train_sae
    from .encoded_corpus import encode_corpus
    from .fidelity import firing_rates, fraction_of_variance_explained
    from .internalizers import train_internalizers
    from .teacher import Report, Teacher
    from .whole_model import train_model

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "..datasets.corpus_file": ["CorpusFile"],
        ".dictionary": ["train_sae"],
        ".encoded_corpus": ["encode_corpus"],
        ".fidelity": ["firing_rates", "fraction_of_variance_explained"],
        ".internalizers": ["train_internalizers"],
        ".teacher": ["Report", "Teacher"],
        ".whole_model": ["train_model"],
    },
)
