"""``vitreous embed``: latents of new particles from a run of ``vitreous flex``, by one pass or by descent."""

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import OmitArgPrefixes, Positional, arg

from vitreous.cli.config_file import read_group
from vitreous.cli.context import RunContext
from vitreous.cli.flex import FlexModel
from vitreous.cli.options import Common, Output
from vitreous.cli.run_files import LATENTS, missing, without_poses
from vitreous.cli.running import Estimate, announce, begin, finish, open_folder, read_with
from vitreous.compute.progress import SilentProgress
from vitreous.data import Particles, Result
from vitreous.errors import InputError
from vitreous.io import ReadOptions, open_particles_with
from vitreous.io.tensors import load_tensors
from vitreous.runs.manifest import Manifest
from vitreous.runs.reader import read_latents
from vitreous.runs.store import STATE
from vitreous.typing import Float, Tensor

_TRIED = 16
"""Images that are embedded to tell how long all will take."""

_REST_SECONDS = 1.0
"""Of one core: to write the result and its report."""


@dataclass(frozen=True)
class Embed:
    """Place new particles with known poses in the latent space of a run of vitreous flex, without training."""

    stack: Positional[Path]
    """Particles with poses, at the box and pixel size of the run: .star, .cs, or .mrcs with --poses."""

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
        particles = open_particles_with(self.stack, self.reading)
        if particles.poses is None:
            raise without_poses(self.stack, "Refine them against a map of the run, or give --poses")
        check_fit(particles, model)
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
        Where the folder is no finished run of that command.
    """
    manifest = Manifest.read(folder)
    if manifest.name != "flex":
        raise InputError(
            "this is no run of vitreous flex",
            found=f"vitreous {manifest.name}",
            remedy="Name its output folder with --run",
            path=folder,
        )
    if not (folder / STATE).exists():
        raise missing(folder, STATE)
    state = load_tensors(folder / STATE)[0]
    known = torch.from_numpy(read_latents(folder / LATENTS)[1])
    if manifest.config["method"] == "pca":
        from vitreous.methods.pca.model import LinearMaps

        return LinearMaps.from_state(state), known
    if manifest.config["method"] == "cryoformer":
        from vitreous.methods.cryoformer.config import CryoFormerConfig
        from vitreous.methods.cryoformer.model import TrainedCryoFormer

        cryoformer = read_group(CryoFormerConfig, manifest.config["cryoformer"], folder)
        return TrainedCryoFormer.from_state(state, cryoformer), known
    from vitreous.methods.cryodrgn.autodecoder import TrainedAutodecoder
    from vitreous.methods.cryodrgn.config import AutodecoderConfig, CryoDrgnConfig
    from vitreous.methods.cryodrgn.method import TrainedAutoencoder

    config = read_group(CryoDrgnConfig, manifest.config["network"], folder)
    if manifest.config["method"] == "autodecoder":
        settings = read_group(AutodecoderConfig, manifest.config["autodecoder"], folder)
        return TrainedAutodecoder.from_state(state, config, settings), known
    return TrainedAutoencoder.from_state(state, config), known


def check_fit(particles: Particles, model: FlexModel) -> None:
    """Refuse particles on another grid than the model's.

    Raises
    ------
    InputError
        With what to do.
    """
    same_pixel = math.isclose(particles.pixel_size_A, model.pixel_size_A, rel_tol=0.01)
    if particles.box != model.box or not same_pixel:
        raise InputError(
            "the particles are on another grid than those of the run",
            expected=f"{model.box} px of {model.pixel_size_A:.4g} Å",
            found=f"{particles.box} px of {particles.pixel_size_A:.4g} Å",
            remedy=f"Images of the same field are brought to it with --box {model.box}; others must be resampled, or "
            "have another pixel size than stated (--pixel-size-A)",
        )
