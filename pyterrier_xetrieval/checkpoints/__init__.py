"""Other people's formats: the released Xetrieval checkpoints, and the folders of the common SAE libraries."""

from ._state import read_state_dict
from .formats import read_sae, write_sae
from .released import read_internalizer, read_released, read_topk_sae

__all__ = ["read_internalizer", "read_released", "read_sae", "read_state_dict", "read_topk_sae", "write_sae"]
