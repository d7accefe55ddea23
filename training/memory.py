"""Keep freed memory for the next layer."""

import ctypes
import logging
import platform

logger = logging.getLogger(__name__)

# Parameters of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large freed blocks rather than to give them back to the system.

    The backward pass through a generator frees and allocates tens of megabytes at every layer, and the system has to
    find fresh pages for each of them. For programs that train alone: it holds for the whole process. Faces are drawn
    without it (`psp_hub.generators.banded`).

    `benchmarks/benchmark_step.py --only light-images --threads 1 --repeats 3 --train_batch_size 2`, with and without
    `--plain_malloc`, at the same time on a busy machine: 2.24 and 4.31 s of the processor a step (medians), and 1.89
    and 1.61 GiB at the peak.

    Returns:
        Whether it took effect; False where the C library is another.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    done = bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT))
    logger.debug("keeping freed memory: %s", done)
    return done
