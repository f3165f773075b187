"""Empty classes begin again from the images that the fullest class explains worst."""

import pytest
import torch

from tests.methods.test_classify import matched_optics, species, store_of
from vitreous.compute.progress import SilentProgress
from vitreous.data import SilentJournal
from vitreous.fourier.resize import resize_map
from vitreous.methods.search.abinitio import AbInitio
from vitreous.methods.search.appraisal import Fit
from vitreous.methods.search.config import SearchConfig
from vitreous.methods.search.given import at_image_scale
from vitreous.methods.search.refilling import Refilling, worst_explained
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.typing import Map

RADIUS, N = 8.0, 600
SHORT = SearchConfig(search_radius=RADIUS, iterations=6, minibatch=40, patience=0, starts=1)


def refilling(store: CoefficientStore) -> Refilling:
    return Refilling(store, SHORT, 20.0, (SilentProgress(), SilentJournal()), torch.Generator().manual_seed(0))


def true_map(store: CoefficientStore, seed: int) -> Map:
    """A species, on the scale of the images and on the working box."""
    values = at_image_scale(species(seed).map(store.disc.box).float(), store, RADIUS, 0)
    return resize_map(values, AbInitio(store, SHORT, 20.0, torch.Generator()).box)


def searched_rows(monkeypatch: pytest.MonkeyPatch, replacement: Map) -> list[torch.Tensor]:
    """Images that maps of empty classes are searched from, with a map in place of that search."""
    asked: list[torch.Tensor] = []

    def found(_: Refilling, rows: torch.Tensor, __: int) -> Map:
        asked.append(rows)
        return replacement

    monkeypatch.setattr(Refilling, "_map", found)
    return asked


def test_an_empty_class_is_searched_from_images_of_the_kind_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    particles, kind = matched_optics()
    store = store_of(particles.select(torch.arange(N)))
    first, second = (true_map(store, seed) for seed in (1, 2))
    asked = searched_rows(monkeypatch, second)
    maps, count = refilling(store).filled([first, torch.zeros_like(first)], 1)
    assert count == 1
    (rows,) = asked
    assert 0.3 * N < len(rows) < 0.4 * N
    assert float((kind[rows] == 1).float().mean()) > 0.9
    assert torch.equal(maps[0], first)
    assert torch.equal(maps[1], second)


def test_classes_that_share_the_images_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    particles, _ = matched_optics()
    store = store_of(particles.select(torch.arange(N)))
    begin = [true_map(store, seed) for seed in (1, 2)]
    asked = searched_rows(monkeypatch, begin[0])
    assert refilling(store).filled(begin, 1) == (begin, 0)
    assert not asked


def test_too_few_images_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    particles, _ = matched_optics()
    store = store_of(particles.select(torch.arange(300)))
    begin = [true_map(store, 1), torch.zeros_like(true_map(store, 1))]
    asked = searched_rows(monkeypatch, begin[0])
    refilling(store).filled(begin, 1)
    assert not asked


def test_a_class_that_stays_empty_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    particles, _ = matched_optics()
    store = store_of(particles.select(torch.arange(N)))
    first = true_map(store, 1)
    nothing = torch.zeros_like(first)
    asked = searched_rows(monkeypatch, nothing)
    _, count = refilling(store).filled([first, nothing, nothing], 1)
    assert count == len(asked) == 2


def test_the_worst_third_is_one_of_the_class() -> None:
    fit = Fit(torch.zeros(7), torch.tensor([0.0, 5.0, 1.0, -9.0, 2.0, 3.0, 4.0]))
    members = torch.tensor([True, True, True, False, True, True, True])
    assert worst_explained(fit, members).tolist() == [True, False, True, False, False, False, False]
    assert not worst_explained(fit, torch.zeros(7, dtype=torch.bool)).any()
