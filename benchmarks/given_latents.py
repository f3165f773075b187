"""What a decoder makes of particles whose latents are told: their true angle, or nothing.

    python -m benchmarks.given_latents STACK OUT.json --latents angle --settings decoder_width=128 epochs=24

One training, for the rows ``told the angle`` and ``told nothing`` of ``benchmarks.motions``.

STACK is a folder of ``vitreous simulate`` with parts; settings are fields of ``CryoDrgnConfig``. The decoder is that of
``vitreous flex``, trained as the autodecoder is, but for latents that stay as they are: the sine and cosine of the true
angle, with which the FSC of its maps is the most that an encoder could reach; or zeros, with which it is that of one
map for all.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.config_words import config_of
from vitreous.cli.decoded_maps import SimulatedTruth, fsc_of_maps, images_of_states
from vitreous.compute.progress import SilentProgress
from vitreous.io import open_particles
from vitreous.methods.cryodrgn.autodecoder import LatentTable, LatentTraining
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.model import decoded_map
from vitreous.methods.cryodrgn.training import Training
from vitreous.reconstruct.fourier_images import FourierImages
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.loop import fit

MAPS = 25
PARTS = ("train", "unseen_particles", "unseen_states")


@dataclass(frozen=True)
class ToldTraining(LatentTraining):
    """Training of a decoder alone.

    Attributes
    ----------
    told
        The latents, ``[n, dims]``, which stay as they are.
    """

    told: Tensor | None = None

    def module(self) -> LatentTable:
        """Make the decoder, with the latents held."""
        table = super().module()
        assert self.told is not None
        table.latents = nn.Parameter(self.told, requires_grad=False)
        return table


def latents_of(truth: SimulatedTruth, rows: Any, kind: str) -> Tensor:
    """Return sine and cosine of the true angle, or zeros, ``[n, 2]``."""
    angle = truth.complete(rows, [0])[:, 0].deg2rad()
    return torch.stack([angle.sin(), angle.cos()], -1) if kind == "angle" else torch.zeros(len(rows), 2)


def trained(stack: Path, kind: str, config: CryoDrgnConfig, hardware: Hardware) -> dict[str, float]:
    """Train on one part, and return the mean area under the FSC for images of each part."""
    truth = SimulatedTruth.read(stack / "latents_truth.csv")
    parts = {name: open_particles(stack / f"{name}.star", contrast="bright") for name in PARTS}
    rows = {name: truth.rows_of(part.ids) for name, part in parts.items()}
    images = FourierImages(parts["train"], config.window).load(SilentProgress())
    told = latents_of(truth, rows["train"], kind)
    task = ToldTraining(Training(images, told.shape[1], config), told=told)
    steps = TrainConfig(task.steps_per_epoch * config.epochs, gradient_clip=None, seed=config.seed)
    table = task.module()
    table.load_state_dict(dict(fit(task, steps, hardware).parameters))
    decoder = table.model.decoder.eval().requires_grad_(False)

    def area(part: str) -> float:
        z = latents_of(truth, rows[part], kind)
        chosen = images_of_states(truth.states[rows[part]], MAPS)
        pixel_size_A = parts[part].pixel_size_A
        maps = (decoded_map(decoder, z[row], float(images.scale), pixel_size_A) for row in chosen)
        return float(fsc_of_maps(maps, truth, rows[part][chosen])["fsc_auc_mean"])

    return {f"{part}.fsc_auc_mean": area(part) for part in PARTS}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--latents", choices=("angle", "none"), required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true")
    parser.add_argument("--settings", nargs="*", default=[])
    return parser.parse_args()


def main() -> None:
    given = parse()
    torch.set_num_threads(given.threads)
    config = config_of(CryoDrgnConfig, given.settings)
    torch.manual_seed(config.seed)
    given.out.write_text(json.dumps(trained(given.stack, given.latents, config, Hardware(precision=given.precision))))


if __name__ == "__main__":
    main()
