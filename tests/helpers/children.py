"""Actions in a child process, which may be killed."""

import os

import torch

OPTIONS = {"shard_size": 15, "batch_size": 4}


def in_child(action) -> int:
    """Runs it in a process of its own and returns how that ended: 0, 1 after an exception, -9 killed."""
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
