"""Refinement as the last stages of a run: rounds that are kept, then maps and numbers per particle."""

from dataclasses import replace

from vitreous.compute.progress import Progress
from vitreous.data import Journal, Poses, Result, Volume
from vitreous.methods.search.explained import explained_share
from vitreous.methods.search.junk import DOUBTFUL, junk_probabilities, junk_warnings
from vitreous.methods.search.refinement import Refinement, RefinementState, log_likelihoods
from vitreous.methods.search.second_look import AFTER_ROUNDS, SecondLook
from vitreous.methods.search.stages import Stages
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.known_poses import ReconstructConfig, reconstruct_halves
from vitreous.typing import Int, Tensor


def refined_in_stages(
    refinement: Refinement, fresh: RefinementState, stages: Stages, reports: tuple[Progress, Journal], look: SecondLook
) -> RefinementState:
    """Refine from a fresh state, or from where a stopped run was; every round is kept and logged."""
    progress, journal = reports
    saved = stages.get("refinement")

    def after_round(state: RefinementState) -> None:
        stages.keep("refinement", state.tensors())
        journal.log({"stage": "refinement", **state.metrics()})

    begin = fresh if saved is None else RefinementState.from_tensors(saved)
    return refinement.run(begin, progress, after_round, dict.fromkeys(AFTER_ROUNDS, look))


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
        Maps, curves, poses, the scores ``log_likelihood`` (gain over an empty map) and ``junk_probability``, the metric
        ``junk_share``, and a warning where that is large, but not so large that the verdict says it.
    """
    state, half_sets = refined
    gains = log_likelihoods(store, state, half_sets, min(state.radius, radius))
    poses = Poses(state.rotations, state.shifts_px * store.particles.pixel_size_A)
    halved = replace(store.particles.with_poses(poses), half_sets=half_sets)
    made = reconstruct_halves(halved, config, progress, mask, balance=store.balance)
    junk = junk_probabilities(store, state, half_sets)
    share = float(junk.mean())
    explained = explained_share(store, state, half_sets, min(state.radius, radius))
    return replace(
        made,
        poses=poses,
        scores={"log_likelihood": gains, "junk_probability": junk},
        warnings=(*made.warnings, *(junk_warnings(share) if share <= DOUBTFUL else ())),
        metrics={**made.metrics, "junk_share": share, "explained_share": explained},
    )
