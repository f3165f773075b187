"""What makes optics groups differ: the noise of their images, and how strong the particle is in them.

Images come with a background of σ 1, whatever camera and ice they are from. So a group with three times the noise of
another shows the particle at a third of the strength, and noise of another colour shows only shell by shell.
"""

from dataclasses import dataclass

from torch import Tensor

from vitreous.typing import Float, Int


@dataclass(frozen=True)
class GroupBalance:
    """Noise power and signal amplitude of every optics group, relative to those of all particles.

    Attributes
    ----------
    noise
        Relative noise power ρ, one row per group, one column per shell.
    amplitude
        Relative amplitude a of the particle.
    """

    noise: Float[Tensor, "g s"]
    amplitude: Float[Tensor, " g"]

    def gains(self, shell: Int[Tensor, " k"]) -> tuple[Float[Tensor, "g k"], Float[Tensor, "g k"]]:
        """Factors of ``Y·C`` and of ``C²``, ``a/ρ`` and ``a²/ρ``.

        They make ``Y/√ρ`` of an image, whose noise is that of all particles, and ``C·a/√ρ`` of its CTF. Shells beyond
        the last count as the last.
        """
        first = (self.amplitude[:, None] / self.noise)[:, shell.clamp_max(self.noise.shape[1] - 1)]
        return first, first * self.amplitude[:, None]
