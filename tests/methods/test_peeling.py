"""The images that a map does not explain are found, and give the next map."""

import torch

from tests.methods.test_classify import matched_optics, species, store_of
from vitreous.compute.progress import SilentProgress
from vitreous.data import SilentJournal
from vitreous.fourier.resize import resize_map
from vitreous.methods.search.abinitio import AbInitio
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.given import at_image_scale
from vitreous.methods.search.peeling import LEAST_SHARE, Peeling
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Map

RADIUS = 8.0
SHORT = SearchConfig(search_radius=RADIUS, iterations=6, minibatch=40, patience=0, starts=1)


def peeling(store: CoefficientStore) -> Peeling:
    return Peeling(store, SHORT, 20.0, (SilentProgress(), SilentJournal()), torch.Generator().manual_seed(0))


def true_map(store: CoefficientStore, seed: int) -> Map:
    """A species, on the scale of the images and on the working box."""
    values = at_image_scale(species(seed).map(store.disc.box).float(), store, RADIUS, 0)
    return resize_map(values, AbInitio(store, SHORT, 20.0, torch.Generator()).box)


def test_what_a_map_does_not_explain_is_the_other_species() -> None:
    particles, kind = matched_optics()
    rows = torch.arange(300)
    store = store_of(particles.select(rows))
    for seed in (1, 2):
        rest = peeling(store)._unexplained(rows, true_map(store, seed))
        is_other = (kind[rows] != seed - 1).float()
        assert rest.float().mean() >= LEAST_SHARE
        assert is_other[rest].mean() > 0.9


def test_images_of_one_kind_are_halved_by_how_well_they_are_explained() -> None:
    particles, kind = matched_optics()
    alone = torch.nonzero(kind == 0)[:240, 0]
    store = store_of(particles.select(alone))
    rest = peeling(store)._unexplained(torch.arange(240), true_map(store, 1))
    assert 0.45 < float(rest.float().mean()) < 0.55


def test_there_is_a_map_for_every_class_however_few_images_are_left() -> None:
    particles, _ = matched_optics()
    store = store_of(particles.select(torch.arange(150)))
    maps = peeling(store).maps(3, 1)
    assert len(maps) == 3
    assert all(float(values.std()) > 0 for values in maps)
    assert not any(torch.equal(maps[i], maps[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
