"""Other people's formats: the released Xetrieval checkpoints, and the folders of the common SAE libraries."""

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:  # what editors and type checkers read
    from .files import read_state_dict
    from .formats import read_sae, write_sae
    from .released import read_internalizer, read_released, read_topk_sae

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        ".files": ["read_state_dict"],
        ".formats": ["read_sae", "write_sae"],
        ".released": ["read_internalizer", "read_released", "read_topk_sae"],
    },
)
