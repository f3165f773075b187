"""What a failure says on the terminal, and its exit code."""

import errno
import sys
import traceback
from collections.abc import Callable

from vitreous.errors import ResourceError, VitreousError

USER_ERROR = 2
INTERNAL_ERROR = 1
INTERRUPTED = 130
BROKEN_PIPE = 141

_REMEDIES = {
    errno.ENOSPC: "Free some space or choose another disk",
    errno.EDQUOT: "Free some space or choose another disk",
    errno.EACCES: "Check the permissions of the file and of its folder",
    errno.EPERM: "Check the permissions of the file and of its folder",
    errno.EROFS: "Choose another place",
    errno.EMFILE: "Raise the limit with ulimit -n",
}
"""What to do where the system refuses; everything else is a wrong path."""


def run_guarded(action: Callable[[], None], *, debug: bool) -> int:
    """Do something; on failure write one line to stderr.

    Returns
    -------
    int
        The exit code: 0; 2 for an error that the user can mend; 1 for an unexpected one; 130 after Ctrl-C.
    """
    try:
        action()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:
        sys.stdout = None  # nobody reads it; the interpreter must not flush it at exit
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _say("vitreous: interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  the last line of defence of a program
        if debug:
            traceback.print_exc()
        return _say(*explain(error))
    return 0


def explain(error: Exception) -> tuple[str, int]:
    """Return the line for an exception, and the exit code."""
    known = error if isinstance(error, VitreousError) else as_resource_error(error)
    if known is not None:
        return f"vitreous: error: {known}", USER_ERROR
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"vitreous: unexpected {text}. This is a fault of vitreous: report it with the output of --debug.", 1


def as_resource_error(error: Exception) -> ResourceError | None:
    """Translate what the machine refuses (memory, disk, permissions) into words, or return None."""
    if _is_out_of_memory(error):
        where = "GPU" if "CUDA" in str(error) else "computer"
        return ResourceError(
            f"the {where} has too little memory",
            remedy="Use fewer particles, a smaller box or another --device, or close other programs",
        )
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _REMEDIES):
        remedy = _REMEDIES.get(error.errno or 0, "Check the path")
        return ResourceError((error.strerror or str(error)).lower(), remedy=remedy, path=error.filename)
    return None


def _is_out_of_memory(error: Exception) -> bool:
    # torch's classes are recognised by name and text, so that torch is not imported for an error message
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _say(line: str, code: int) -> int:
    sys.stderr.write(f"{line}\n")
    return code
