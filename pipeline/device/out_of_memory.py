"""Noticing that there was no memory for a tensor, which torch says in several ways."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.util.errors import OdenetError

OF_A_GPU = ("CUDA", "cuDNN", "CUBLAS", "HIP", "XPU", "MPS")
"""In what the libraries of a GPU say."""
SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""Of torch's own allocators, of CUDA itself, and of the libraries that allocate for themselves."""

IN_A_TRAINING = (
    "use training.micro_batch_size, a smaller training.batch_size or model, or for ODE blocks "
    "solver.gradient=checkpointed"
)
IN_A_TEST = "use a smaller evaluation.batch_size"
OTHERWISE = "end what else takes it, or use a machine that has more"
"""Remedies."""


class OutOfMemory(OdenetError):
    """The GPU's memory, or the computer's, does not suffice."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


@contextmanager
def naming_lack_of_memory(remedy: str = OTHERWISE) -> Iterator[None]:
    """Within it such an error becomes one with a remedy.

    Raises:
        OutOfMemory: instead.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        where = "GPU" if any(word in str(error) for word in OF_A_GPU) else "computer"
        raise OutOfMemory(f"the {where} is out of memory: {remedy}") from error
