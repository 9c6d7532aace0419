"""A small Ray cluster on this machine, one for all files of this folder; without Ray they are left out."""

from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]


@pytest.fixture(scope="package")
def cluster():
    import ray

    # what tests define is pickled by the name of its module
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # Ray's 15 starves workers beside other programs
        ray.init(
            num_cpus=2,
            num_gpus=1,  # one that nobody uses: Ray only counts
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=100_000_000,
            runtime_env={"env_vars": environment},
        )
    yield
    ray.shutdown()
