"""The jobs over a whole corpus on many machines, with Ray: indexing, samples of features, teacher texts.

A corpus is cut into consecutive parts, workers do a part each, and the parts are joined to what one process would have
made. Everything is kept in a folder that all machines share, so that any process may die and be started again.
Needs ``pip install "pyterrier-xetrieval[ray]"``.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from .._lazy import attach

for _needed in ("ray", "cloudpickle", "pyarrow"):
    if find_spec(_needed) is None:
        raise ImportError(f"{__name__} needs Ray (no {_needed}): pip install 'pyterrier-xetrieval[ray]'", name=_needed)

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .indexing import index_corpus
    from .on_worker import OnWorker
    from .samples import feature_samples
    from .teacher_texts import write_texts

__getattr__, __dir__, __all__ = attach(__name__)
