"""The jobs over a whole corpus on many machines, with Ray Data: indexing, encoding, samples of features, teacher texts.

A corpus is cut into consecutive parts, workers do a part each, and the parts are joined to what one process would have
made. Everything is kept on a folder that all machines share, so that any process may die and be started again.
Needs ``pip install "pyterrier-xetrieval[ray]"``.
"""

from .cluster import OnWorker
from .indexing import index_corpus
from .samples import feature_samples
from .teacher_texts import write_texts

__all__ = ["OnWorker", "feature_samples", "index_corpus", "write_texts"]
