"""Other people's formats: the released Xetrieval checkpoints, and the folders of the common SAE libraries."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # read by editors, type checkers and attach
    from .formats import read_sae, write_sae
    from .layouts import read_state_dict
    from .released import read_internalizer, read_released, read_topk_sae

__getattr__, __dir__, __all__ = attach(__name__)
