"""From refined poses to maps and numbers per particle."""

from dataclasses import replace

from vitreous.compute.progress import Progress
from vitreous.data import Poses, Result, Volume
from vitreous.methods.search.refinement import RefinementState, log_likelihoods
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.known_poses import ReconstructConfig, reconstruct_halves
from vitreous.typing import Int, Tensor


def reconstructed(
    store: CoefficientStore,
    refined: tuple[RefinementState, Int[Tensor, " n"]],
    config: ReconstructConfig,
    progress: Progress,
    mask: Volume | None,
    *,
    radius: float,
) -> Result:
    """Reconstruct from refined poses.

    Parameters
    ----------
    store
        Coefficients of all particles.
    refined
        State of the refinement, and the half-set of every particle.
    config, progress, mask
        As for :func:`~vitreous.reconstruct.known_poses.reconstruct_halves`.
    radius
        Fourier pixels within which log-likelihoods are computed.

    Returns
    -------
    Result
        Maps, curves, poses, and the score ``log_likelihood``: gain over an empty map.
    """
    state, half_sets = refined
    gains = log_likelihoods(store, state, half_sets, min(state.radius, radius))
    poses = Poses(state.rotations, state.shifts_px * store.particles.pixel_size_A)
    halved = replace(store.particles.with_poses(poses), half_sets=half_sets)
    made = reconstruct_halves(halved, config, progress, mask)
    return replace(made, poses=poses, scores={"log_likelihood": gains})
