"""What encoders make of images, and what they can say of particles that they never saw."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.methods.moving_blobs import Scene, blob_map, moving_blobs
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource
from vitreous.errors import ConfigError, InputError
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.method import CryoDrgn, CryoNoo, Task, TrainedAutoencoder
from vitreous.methods.cryodrgn.model import Autoencoder
from vitreous.methods.cryodrgn.noo_config import CryoNooConfig
from vitreous.methods.pca.config import PcaConfig
from vitreous.methods.pca.method import Pca
from vitreous.methods.pca.model import LinearMaps
from vitreous.nn.encoders import MapsEncoder
from vitreous.reconstruct.fourier_images import FourierImages, half_disc
from vitreous.train.config import Hardware, TrainConfig
from vitreous.train.loop import fit

BOX, DIMS = 16, 2
CONFIG = CryoDrgnConfig(
    encoder="maps", encoder_maps=3, encoder_width=32, decoder_width=32, batch=16, epochs=15, learning_rate=1e-3
)


def linear_maps() -> Tensor:
    """Mean and two differences of the moving blob's maps, three times as high as the projections of one."""
    first, second, third = (3 * blob_map(angle, BOX).values / BOX for angle in (0.0, 2.1, 4.2))
    mean = (first + second + third) / 3
    return torch.stack([mean, first - mean, second - mean])


def scene_of_mixtures(n: int) -> tuple[Scene, FourierImages]:
    scene = moving_blobs(n, BOX, noise=1.0)
    return scene, FourierImages(scene.particles, 1.0)


def test_features_are_the_shares_of_principal_maps_from_every_side() -> None:
    """Images that are exact slices of a linear family, with a CTF: what comes back is what went in."""
    maps, disc = 30 * linear_maps(), half_disc(BOX)
    encoder = MapsEncoder(maps, disc, DIMS, width=32, layers=2)
    generator = torch.Generator().manual_seed(0)
    _, images = scene_of_mixtures(40)
    rotations = images.poses.rotations.float()
    z, ctf = torch.randn(40, 2, generator=generator), torch.randn(40, len(disc.kx), generator=generator)
    slices = torch.stack([volume.sample(rotations, disc.kx, disc.ky) for volume in encoder._transforms()], 1)
    values = (slices[:, 0] + (z[:, :, None] * slices[:, 1:]).sum(1)) * ctf
    found = encoder.features(values / 3, ctf, rotations, torch.tensor(3.0))
    torch.testing.assert_close(found[:, :2], z, atol=0.03, rtol=0.03)
    assert bool((found[:, 2:] < 0.3).all())
    assert bool((found[:, 2:] > 0).all())


def trained(task: Task) -> Mapping[str, Tensor]:
    steps = task.steps_per_epoch * CONFIG.epochs
    return fit(task, TrainConfig(steps=steps, gradient_clip=None), Hardware()).parameters


@pytest.fixture(scope="module")
def fitted() -> tuple[Scene, Tensor]:
    scene = moving_blobs(300, BOX, noise=1.0)
    return scene, Pca(3, PcaConfig(iterations=8)).run(scene.particles, SilentProgress())[1].maps


def angle_error_deg(known: Tensor, angles: Tensor, new: Tensor, true: Tensor) -> float:
    """Median error of the mean direction of the five nearest known latents' angles."""
    nearest = torch.cdist(new, known).topk(5, largest=False).indices
    direction = torch.polar(torch.ones_like(angles), angles)[nearest].mean(1)
    return float(torch.rad2deg((direction * torch.polar(torch.ones_like(true), -true)).angle().abs()).median())


@pytest.mark.parametrize("method", ["cryodrgn", "cryonoo"])
def test_latents_of_new_particles_tell_their_angle(fitted, method: str) -> None:
    scene, maps = fitted
    noo = CryoNooConfig(warmup=3.0, expander=32)
    made = CryoDrgn(DIMS, CONFIG, maps=maps) if method == "cryodrgn" else CryoNoo(DIMS, CONFIG, noo, maps=maps)
    result, model = made.run(scene.particles, SilentProgress(), trained)
    new = moving_blobs(150, BOX, noise=1.0, seed=5)
    found = model.embed(new.particles, SilentProgress()).mean
    assert angle_error_deg(result.latents, scene.angles, found, new.angles) < 30  # 90 by chance
    again = TrainedAutoencoder.from_state(model.state, CONFIG)
    assert torch.equal(again.embed(new.particles, SilentProgress()).mean, found)


def test_what_an_encoder_of_maps_cannot_do_is_refused(fitted) -> None:
    scene, maps = fitted
    with pytest.raises(ConfigError, match="needs principal maps"):
        CryoDrgn(DIMS, CONFIG)
    with pytest.raises(ConfigError, match="takes no principal maps"):
        CryoDrgn(DIMS, CryoDrgnConfig(encoder="pixels"), maps=maps)
    with pytest.raises(ConfigError, match="knows the orientation"):
        CryoNoo(DIMS, CONFIG, CryoNooConfig(views="turned", warmup=1.0), maps=maps)
    multiplied = scene.particles.select(torch.arange(20))
    object.__setattr__(multiplied, "ctf_premultiplied", True)
    with pytest.raises(InputError, match=r"without the multiplication, or train with --encoder pixels"):
        CryoDrgn(DIMS, CONFIG, maps=maps).run(multiplied, SilentProgress(), trained)


def test_cryonoo_does_not_take_pixels_unasked() -> None:
    particles, noo = moving_blobs(20, BOX).particles, CryoNooConfig(warmup=1.0, expander=32)
    config = replace(CONFIG, encoder=None)

    def reached(task: Task) -> Mapping[str, Tensor]:
        raise InterruptedError

    with pytest.raises(ConfigError, match=r"pass them as maps=, or say CryoDrgnConfig\(encoder=\"pixels\"\)"):
        CryoNoo(DIMS, config, noo).run(particles, SilentProgress(), reached)
    turned = replace(noo, views="turned")
    for asked in (CryoNoo(DIMS, replace(CONFIG, encoder="pixels"), noo), CryoNoo(DIMS, config, turned)):
        with pytest.raises(InterruptedError):
            asked.run(particles, SilentProgress(), reached)


def test_particles_on_another_grid_are_not_embedded() -> None:
    model = TrainedAutoencoder(Autoencoder(BOX, DIMS, replace(CONFIG, encoder="pixels")), CONFIG, 2.0)
    maps = LinearMaps(torch.zeros(3, BOX, BOX, BOX), 2.0)
    for of_model in (model, maps):
        for box, pixel_size_A in ((BOX, 2.1), (BOX - 2, 2.0)):
            particles = moving_blobs(4, box).particles
            source = ArraySource(particles.images(), pixel_size_A)
            with pytest.raises(InputError, match=f"expected {BOX} px of 2 Å, found {box} px of {pixel_size_A:.4g} Å"):
                of_model.embed(replace(particles, source=source), SilentProgress())
