"""Images that hold nothing to compute with, and the error that names them."""

from collections.abc import Mapping
from pathlib import Path

from vitreous.errors import InputError

NOT_FINITE = "holds NaN or infinite values"
CONSTANT = "is constant"
NO_NOISE = "has no variance in its background"

_NAMED = 5
_LEAVE_OUT = "Leave out what cannot be used with `vitreous select STACK --usable -o good.star`, or extract it again"
_UNMASKED = "Extract the particles without a mask: normalisation needs the noise around them"


def unusable_error(reasons: Mapping[str, str], path: Path, total: int, *, is_whole: bool) -> InputError:
    """Return the error for images that cannot be used.

    Parameters
    ----------
    reasons
        What is wrong with each, by name.
    path
        Where the first of them is.
    total
        Images that there are.
    is_whole
        Whether all of them were looked at.
    """
    remedy = _UNMASKED if set(reasons.values()) == {NO_NOISE} else _LEAVE_OUT
    named = [f"{name} {reason}" for name, reason in list(reasons.items())[:_NAMED]]
    if len(reasons) == 1 and is_whole:
        (name,), (reason,) = reasons, reasons.values()
        return InputError(f"the image {reason}", remedy=remedy, path=path, particle=name)
    count = f"{len(reasons)}" if is_whole else f"at least {len(reasons)}"
    more = f", and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    return InputError(f"{count} of {total} images cannot be used: {', '.join(named)}{more}", remedy=remedy, path=path)
