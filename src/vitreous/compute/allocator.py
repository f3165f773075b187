"""How the C library hands out memory."""

import ctypes

_KEEPING = ((-3, 1 << 25), (-1, 1 << 30), (-2, 1 << 26))
"""M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h: blocks up to 32 MB, the most that glibc allows, are cut
from the heap; up to 1 GB at its end is kept; it grows by 64 MB. Larger blocks are still mapped and given back: on the
heap as well, aligned blocks leave holes in which the next one does not fit, up to twice the peak of memory."""


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next allocation; return whether it can.

    By default glibc gives most of the memory of temporary tensors back to the kernel, and every 4 kB taken again cost a
    page fault and a zeroed page: a tenth of the time of an ab initio run on a virtual machine.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no glibc
        return False
    return all(mallopt(parameter, value) for parameter, value in _KEEPING)
