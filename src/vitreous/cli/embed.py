"""``vitreous embed``: latents of new particles from a run of ``vitreous flex``, by one pass or by descent."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from tyro.conf import OmitArgPrefixes, Positional, arg

from vitreous.cli.config_file import read_group
from vitreous.cli.context import RunContext
from vitreous.cli.flex import FlexModel
from vitreous.cli.options import Common, Output
from vitreous.cli.run_files import LATENTS, file_of, without_poses
from vitreous.cli.running import Estimate, announce, begin, finish, open_folder, read_with
from vitreous.compute.progress import SilentProgress
from vitreous.data import Particles, Result
from vitreous.errors import InputError
from vitreous.io import ReadOptions, open_particles_with
from vitreous.io.contrast import DARK_NOTE, detect_contrast
from vitreous.io.tensors import load_tensors
from vitreous.nn.encoders import PIXEL_SIZE_TOLERANCE, refuse_other_grid
from vitreous.runs.manifest import MANIFEST, Manifest
from vitreous.runs.reader import read_latents
from vitreous.runs.store import STATE
from vitreous.typing import Float, Tensor

_TRIED = 16
"""Images that are embedded to tell how long all will take."""

_REST_SECONDS = 1.0
"""Of one core: to write the result and its report."""

_WHOLE = "The folder may be half-copied or mixed from two runs: copy the run whole, or run `vitreous flex` again"


@dataclass(frozen=True)
class Embed:
    """Place new particles with known poses in the latent space of a run of vitreous flex, without training."""

    stack: Positional[Path]
    """Particles with poses: .star, .cs, or .mrcs with --poses. Contrast and box are those of the run when not given;
    larger images must show its field."""

    run_folder: Annotated[Path, arg(name="run")]
    """Folder of a run of vitreous flex."""

    output: Output
    """Folder for the latents and the report."""

    reading: OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)
    common: OmitArgPrefixes[Common] = field(default_factory=Common)

    def run(self, context: RunContext) -> None:
        """Read the run and the particles, embed, write."""
        if not begin(context, self.output, self.common):
            return
        model, known = load_run(self.run_folder)
        particles = open_as_run(self.stack, self.reading, Manifest.read(self.run_folder), model)
        if particles.poses is None:
            raise without_poses(self.stack, "Refine them against a map of the run, or give --poses")
        refuse_other_grid(particles, model.box, model.pixel_size_A)
        seconds = 0.0 if context.common.quiet else _core_seconds(model, particles)
        announce(context, particles, Estimate(1e9, seconds))
        inputs = (self.stack, self.run_folder / STATE, *read_with(self.reading))
        with open_folder(context, self.output, particles, inputs) as folder:
            finish(context, folder, embedded(model, known, particles, context), particles)


def _core_seconds(model: FlexModel, particles: Particles) -> float:
    """Estimate the time on one core from a few images, and of a descent from one of its steps."""
    from vitreous.methods.cryodrgn.autodecoder import TrainedAutodecoder

    tried, times = model, len(particles) / min(_TRIED, len(particles))
    if isinstance(model, TrainedAutodecoder):
        # how sure latents are is asked of each dimension, ahead and behind, in a third of a step
        rest = (1 + 2 * model.dims) / 3
        tried = replace(model, settings=replace(model.settings, embed_steps=1))
        times *= (model.settings.embed_steps + rest) / (1 + rest)
    tried.embed(particles.select(torch.arange(1)), SilentProgress())  # makes what is kept
    started = time.monotonic()
    tried.embed(particles.select(torch.arange(min(_TRIED, len(particles)))), SilentProgress())
    return times * (time.monotonic() - started) * torch.get_num_threads() + _REST_SECONDS


def embedded(model: FlexModel, known: Float[Tensor, "m dims"], particles: Particles, context: RunContext) -> Result:
    """Return latents with their confidence and their distance from those that the run knows."""
    from vitreous.analysis.embedding import latent_confidence, latent_distance

    started = time.monotonic()
    latents = model.embed(particles, context.progress())
    speed = len(particles) / max(time.monotonic() - started, 1e-9)
    confidence = latent_confidence(latents, known)
    distance = latent_distance(latents.mean, known)
    return Result(
        latents=latents.mean,
        latent_std=latents.std,
        scores={"latent_confidence": confidence, "latent_distance": distance},
        metrics={
            "images_per_second": round(speed, 1),
            "mean_latent_confidence": float(confidence.mean()),
            "median_latent_distance": float(distance.median()),
        },
    )


def load_run(folder: Path) -> tuple[FlexModel, Float[Tensor, "m dims"]]:
    """Load the model of a run of ``vitreous flex`` and the latents of its particles.

    Raises
    ------
    InputError
        Where the folder is no finished run of that command, or its files do not belong together.
    """
    manifest = Manifest.read(folder)
    if manifest.name != "flex":
        raise InputError(
            "this is no run of vitreous flex",
            found=f"vitreous {manifest.name}",
            remedy="Name its output folder with --run",
            path=folder,
        )
    state, known = load_tensors(file_of(folder, STATE))[0], read_latents(file_of(folder, LATENTS))[1]
    try:
        model, dims = _model_of(state, manifest.config, folder), _dims_of(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"the networks or maps of {STATE} are not those of the options in {MANIFEST}",
            remedy=_WHOLE,
            path=folder,
        ) from error
    if known.shape[1] != dims:
        raise InputError(
            f"the latents of {LATENTS} are not those of {STATE}",
            expected=f"{dims} numbers for each particle",
            found=known.shape[1],
            remedy=_WHOLE,
            path=folder,
        )
    return model, torch.from_numpy(known)


def _model_of(state: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path) -> FlexModel:
    """Make the model of a run from its state and options."""
    if config["method"] == "pca":
        from vitreous.methods.pca.model import LinearMaps

        return LinearMaps.from_state(state)
    if config["method"] == "cryoformer":
        from vitreous.methods.cryoformer.config import CryoFormerConfig
        from vitreous.methods.cryoformer.model import TrainedCryoFormer

        return TrainedCryoFormer.from_state(state, read_group(CryoFormerConfig, config["cryoformer"], folder))
    from vitreous.methods.cryodrgn.autodecoder import TrainedAutodecoder
    from vitreous.methods.cryodrgn.config import AutodecoderConfig, CryoDrgnConfig
    from vitreous.methods.cryodrgn.method import TrainedAutoencoder

    network = read_group(CryoDrgnConfig, config["network"], folder)
    if config["method"] == "autodecoder":
        settings = read_group(AutodecoderConfig, config["autodecoder"], folder)
        return TrainedAutodecoder.from_state(state, network, settings)
    return TrainedAutoencoder.from_state(state, network)


def _dims_of(state: Mapping[str, Tensor]) -> int:
    """Size of the latents: principal maps beside the mean, what an autodecoder notes, or what an encoder ends in."""
    if "maps" in state:
        return len(state["maps"]) - 1
    return int(state["dims"]) if "dims" in state else len(state["encoder.last.bias"]) // 2


def open_as_run(stack: Path, options: ReadOptions, run: Manifest, model: FlexModel) -> Particles:
    """Open particles with the contrast and the box of a run, where options do not say others.

    A few images do not tell their contrast, and what they tell by chance would turn their latents around. Images that
    are larger than those of the run and show the same field are cropped in Fourier space.

    Parameters
    ----------
    stack, options
        The particles and how to read them.
    run, model
        What the run was, and what it left.
    """
    judged = options.contrast == "auto"
    if judged:
        options = replace(options, contrast=contrast_of(run))
    particles = open_particles_with(stack, options)
    if options.box is None and _shows_field(particles, model):
        options = replace(options, box=model.box)
        particles = open_particles_with(stack, options)
    if not judged:
        return particles
    if _is_stated(run) or not _states_contrast(particles):
        return _with_contrast_notes(particles, options.contrast)
    return open_particles_with(stack, replace(options, contrast="auto"))


def contrast_of(run: Manifest) -> Literal["bright", "dark"]:
    """Return the contrast of the particles of a run: what was given, or else what reading them found and noted."""
    if _is_stated(run):
        return "dark" if run.config["reading"]["contrast"] == "dark" else "bright"
    return "dark" if any(note.startswith(DARK_NOTE) for note in run.notes) else "bright"


def _is_stated(run: Manifest) -> bool:
    return run.config.get("reading", {}).get("contrast", "auto") != "auto"


def _states_contrast(particles: Particles) -> bool:
    """Whether the file says of its own images what they are, as cryoSPARC's do."""
    return particles.table is not None and "blob/sign" in particles.table.particles


def _with_contrast_notes(particles: Particles, contrast: str) -> Particles:
    """Say that the contrast is the run's, and where images clearly look otherwise."""
    notes = [note.replace("--contrast dark was given", "as in the run") for note in particles.notes]
    estimate = detect_contrast(particles.source)
    if estimate.is_significant and estimate.sign < 0:
        looks, other = ("bright on dark", "bright") if contrast == "dark" else ("dark on bright", "dark")
        notes.append(
            f"the images look {looks}, against those of the run, whose contrast was taken (or --contrast {other})"
        )
    return replace(particles, notes=notes)


def _shows_field(particles: Particles, model: FlexModel) -> bool:
    """Whether images can be cropped to the grid of the model."""
    field_A = particles.box * particles.pixel_size_A
    same = math.isclose(field_A, model.box * model.pixel_size_A, rel_tol=PIXEL_SIZE_TOLERANCE)
    return same and particles.box > model.box
