"""Programs that make a model: teacher texts, internalizers, dictionaries, a whole model from a corpus."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # what editors and type checkers read
    from ..datasets.corpus_file import CorpusFile
    from ..datasets.encoded_corpus import encode_corpus
    from ..llm.engine import Report
    from .dictionary import train_sae
    from .fidelity import firing_statistics, fraction_of_variance_explained
    from .internalizers import train_internalizers
    from .teacher import Teacher
    from .whole_model import train_model

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "..datasets.corpus_file": ["CorpusFile"],
        "..datasets.encoded_corpus": ["encode_corpus"],
        "..llm.engine": ["Report"],
        ".dictionary": ["train_sae"],
        ".fidelity": ["firing_statistics", "fraction_of_variance_explained"],
        ".internalizers": ["train_internalizers"],
        ".teacher": ["Teacher"],
        ".whole_model": ["train_model"],
    },
)
