"""Particle stacks with their truth.

Two passes: noise-free images are rendered state by state, which gives the exact variance of the signal over the whole
stack; then noise is added in the stack's order. Neither holds more than a batch of images in memory.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from vitreous.compute.progress import Progress, SilentProgress
from vitreous.data import Volume
from vitreous.io.access import write_refused
from vitreous.io.background import Background
from vitreous.io.stack_writer import StackWriter
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.density import DensityGrid, atoms_to_density
from vitreous.simulate.geometry import plan_grid
from vitreous.simulate.motions import State, common_centre_A
from vitreous.simulate.noise import noise_block
from vitreous.simulate.outputs import STACK_NAME, Simulated, write_state_map, write_truth
from vitreous.simulate.scratch import CleanImages
from vitreous.simulate.split import SPLITS
from vitreous.simulate.truth import Truth, draw_truth
from vitreous.typing import Images, PathLike

_BATCH_PIXELS = 1 << 20


@dataclass(frozen=True)
class Plan:
    """A simulation that is ready to run: everything has been read, drawn and checked.

    Attributes
    ----------
    config
        The settings.
    states
        Conformations and compositions.
    grid
        Geometry of the maps.
    centre_A
        The point of the models that lies at the box centre.
    truth
        Poses, optics and states of the particles.
    """

    config: SimulationConfig
    states: Sequence[State]
    grid: DensityGrid
    centre_A: torch.Tensor
    truth: Truth

    @property
    def batch(self) -> int:
        """Images per batch."""
        return max(1, _BATCH_PIXELS // self.config.box**2)

    def density(self, state: State) -> Volume:
        """Return the map of a state in the frame of the poses."""
        return atoms_to_density(state.atoms, self.grid, self.centre_A)


def plan_simulation(states: Sequence[State], config: SimulationConfig) -> Plan:
    """Draw and check everything that can be refused before anything is computed.

    Raises
    ------
    ConfigError, InputError
        If a setting, a file of views or a file of CTFs cannot be used.
    """
    centre_A = common_centre_A(states)
    grid = plan_grid(states, config, centre_A)
    return Plan(config, states, grid, centre_A, draw_truth(config, states, grid.voxel_size_A))


def simulate_stack(plan: Plan, folder: PathLike, progress: Progress | None = None) -> Simulated:
    """Write stack, truth and ground-truth maps into an existing folder, all of them or none.

    Leaves ``particles.mrcs``, ``particles.star`` (no poses), ``truth.star`` (poses; the state's number, from 1, in
    ``rlnClassNumber``), ``truth.json``, ``latents_truth.csv`` and ``state_01.mrc`` … of which each is the map whose
    projections the images of that state are. Where particles are to stay unseen, ``train.star``,
    ``unseen_particles.star`` and ``unseen_states.star`` hold the parts with their poses. Files of an earlier simulation
    are replaced.

    Raises
    ------
    ConfigError
        If a model does not fit into the box.
    ResourceError
        If the disk refuses.
    """
    with _completed_in(Path(folder)) as staging:
        simulated = _write_images(plan, staging, progress or SilentProgress())
        write_truth(staging, simulated, plan.truth)
    return simulated


@contextmanager
def _completed_in(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder whose files move to ``folder`` when the block ends well, and vanish when it raises."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".simulating-") as staging:
            yield Path(staging)
            for old in [*folder.glob("state_*.mrc"), *(folder / f"{part}.star" for part in SPLITS)]:
                old.unlink(missing_ok=True)
            for file in sorted(Path(staging).iterdir()):
                file.replace(folder / file.name)
    except OSError as error:
        raise write_refused(folder, error) from error


def _write_images(plan: Plan, folder: Path, progress: Progress) -> Simulated:
    with CleanImages(folder, plan.config.box) as clean:
        with progress.stage("projecting", plan.config.n):
            for index in range(len(plan.states)):
                _render_state(plan, index, folder, clean, progress)
        simulated = Simulated(plan.config, plan.grid, tuple(plan.states), plan.centre_A, clean.variance)
        with progress.stage("adding noise", plan.config.n):
            _write_noisy(simulated, plan, folder, clean, progress)
    return simulated


def _render_state(plan: Plan, index: int, folder: Path, clean: CleanImages, progress: Progress) -> None:
    truth, pixel_size_A = plan.truth, plan.grid.voxel_size_A
    density = plan.density(plan.states[index])
    write_state_map(folder, index, len(plan.states), density)
    rows = torch.nonzero(truth.state == index)[:, 0]
    if len(rows) == 0:
        return
    volume = FourierVolume.from_map(density.values)
    for batch in torch.split(rows, plan.batch):
        # A projection sums voxels along the beam; its grey values are those of the map times the voxel size.
        images = render(volume, truth.poses.select(batch), truth.optics.select(batch), pixel_size_A)
        clean.write(batch, images * pixel_size_A)
        progress.advance(len(batch))


def _write_noisy(simulated: Simulated, plan: Plan, folder: Path, clean: CleanImages, progress: Progress) -> None:
    config = plan.config
    path = folder / STACK_NAME
    with StackWriter(path, config.n, config.box, plan.grid.voxel_size_A, float16=config.float16) as writer:
        for block, start in enumerate(range(0, config.n, plan.batch)):
            stop = min(config.n, start + plan.batch)
            writer.append(_finish(clean.read(start, stop), block, simulated))
            progress.advance(stop - start)


def _finish(signal: Images, block: int, simulated: Simulated) -> Images:
    """Scale noise-free images to the wanted SNR, add noise of variance 1 and normalise the background.

    The signal's scale is one number for the whole stack; the noise's σ of 1 is what RELION's normalisation aims at.
    """
    config, sign = simulated.config, 1.0 if simulated.config.contrast == "bright" else -1.0
    signal *= sign * simulated.signal_scale
    if math.isinf(config.snr):
        return signal
    signal += noise_block(block, len(signal), config, simulated.grid.voxel_size_A)
    Background.outside(config.box, config.box / 2).normalise_(signal)
    return signal
