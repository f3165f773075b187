"""Every method by name; a method's module is imported only when the method is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from vitreous.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """Where a method lives and what it is good for.

    Attributes
    ----------
    target
        ``module:class``.
    help
        One line.
    """

    target: str
    help: str


METHODS = {
    "search": Entry("vitreous.methods.search.method:Search", "marginalised search over poses, from random starts"),
    "refine": Entry("vitreous.methods.search.refine:Refine", "half-set refinement from a map or from poses"),
    "classify": Entry("vitreous.methods.search.classify:Classify", "several maps from a mixture"),
    "fastar": Entry("vitreous.methods.fastar.method:FastAR", "poses by forward passes of a pre-trained network"),
    "cryoai": Entry("vitreous.methods.cryoai.method:CryoAI", "poses by an encoder that learns them with a map"),
    "cryodrgn": Entry("vitreous.methods.cryodrgn.method:CryoDrgn", "motions by a variational autoencoder"),
    "cryonoo": Entry("vitreous.methods.cryodrgn.method:CryoNoo", "the same, for particles that were never seen"),
    "autodecoder": Entry("vitreous.methods.cryodrgn.method:Autodecoder", "the same without an encoder"),
    "cryoformer": Entry("vitreous.methods.cryoformer.method:CryoFormer", "motions by a density in real space"),
    "pca": Entry("vitreous.methods.pca.method:Pca", "motions as a mean and principal maps"),
}


def get(name: str) -> Callable[..., Any]:
    """Import a method's class.

    Raises
    ------
    ConfigError
        When there is no method of that name.
    """
    if name not in METHODS:
        near = get_close_matches(name, METHODS, n=1)
        remedy = f"Did you mean {near[0]}?" if near else f"Choose one of {', '.join(METHODS)}"
        raise ConfigError(f"--method {name} does not exist", remedy=remedy)
    module, _, attribute = METHODS[name].target.partition(":")
    return getattr(import_module(module), attribute)
