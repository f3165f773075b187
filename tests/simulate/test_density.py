import math

import gemmi
import numpy as np
import pytest
import torch

from vitreous.errors import ConfigError
from vitreous.fourier.transform import rfft3_centred
from vitreous.simulate.atoms import Atoms
from vitreous.simulate.density import (
    DensityGrid,
    atoms_to_density,
    density_transform,
    radial_factors,
    soft_low_pass,
)

ORIGIN = torch.zeros(3, dtype=torch.float64)


def make_atoms(
    element: list[str], xyz: list[list[float]], b: list[float], occupancy: list[float] | None = None
) -> Atoms:
    n = len(element)
    return Atoms(
        np.array(element),
        torch.tensor(xyz, dtype=torch.float64),
        torch.tensor(b, dtype=torch.float64),
        torch.tensor(occupancy or [1.0] * n, dtype=torch.float64),
        np.full(n, "A"),
    )


def random_atoms(n: int, radius_A: float, generator: torch.Generator) -> Atoms:
    elements = np.array(["C", "N", "O", "S", "P", "H", "Mg"])[torch.randint(7, (n,), generator=generator).numpy()]
    xyz = (torch.rand(n, 3, generator=generator, dtype=torch.float64) * 2 - 1) * radius_A / math.sqrt(3)
    b, occupancy = torch.rand(2, n, generator=generator, dtype=torch.float64)
    return make_atoms(elements.tolist(), xyz.tolist(), (200 * b).tolist(), occupancy.tolist())


def frequencies_per_A(box: int, voxel_size_A: float) -> torch.Tensor:
    k = torch.fft.fftfreq(box, voxel_size_A, dtype=torch.float64)
    half = torch.arange(box // 2 + 1, dtype=torch.float64) / (box * voxel_size_A)
    z, y, x = torch.meshgrid(k, k, half, indexing="ij")
    return torch.stack([x, y, z], -1)


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize(("symbol", "b"), [("C", 0.0), ("P", 80.0), ("Zn", 300.0)])
def test_one_atom_is_form_factor_times_debye_waller_times_phase(box: int, symbol: str, b: float) -> None:
    place = [3.3, -5.1, 7.7]
    grid = DensityGrid(box, 1.5, 3.0)
    found = density_transform(make_atoms([symbol], [place], [b], [0.7]), grid, ORIGIN)
    s = frequencies_per_A(box, 1.5)
    norm = s.norm(dim=-1)
    coefficient = gemmi.Element(symbol).c4322
    factor = sum(a * torch.exp(-w * norm**2 / 4) for a, w in zip(coefficient.a, coefficient.b))
    phase = torch.exp(-2j * math.pi * (s @ torch.tensor(place, dtype=torch.float64)))
    expected = 0.7 * factor * torch.exp(-b * norm**2 / 4) * phase * (norm < grid.max_frequency_per_A)
    assert float((found - expected).abs().max()) < 1e-4 * sum(coefficient.a)


def test_structure_factors_agree_with_those_of_gemmi(generator: torch.Generator) -> None:
    box, voxel = 32, 2.0
    atoms = random_atoms(60, 25.0, generator)
    model = gemmi.Model(1)
    chain, residue = gemmi.Chain("A"), gemmi.Residue()
    residue.name, residue.seqid = "UNK", gemmi.SeqId("1")
    for symbol, xyz, b, occupancy in zip(atoms.element, atoms.xyz_A.tolist(), atoms.b_A2, atoms.occupancy):
        atom = gemmi.Atom()
        atom.element, atom.pos = gemmi.Element(str(symbol)), gemmi.Position(*xyz)
        atom.b_iso, atom.occ = float(b), float(occupancy)
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    calculator = gemmi.StructureFactorCalculatorE(gemmi.UnitCell(*[box * voxel] * 3, 90, 90, 90))
    found = density_transform(atoms, DensityGrid(box, voxel, 4.0), ORIGIN)
    scale = float(found[0, 0, 0].real)
    for h, k, m in [(0, 0, 0), (1, 0, 0), (3, -2, 5), (0, 7, -7), (12, 3, -4), (0, 0, 15)]:
        theirs = complex(calculator.calculate_sf_from_model(model, (h, k, m))).conjugate()  # exp(+2πi h·r) there
        assert abs(complex(found[m, k, h]) - theirs) < 1e-4 * scale


def test_total_density_is_the_sum_of_forward_scattering(generator: torch.Generator) -> None:
    atoms = random_atoms(300, 30.0, generator)
    volume = atoms_to_density(atoms, DensityGrid(30, 3.0, 8.0))
    forward = float(radial_factors(atoms, torch.zeros(1, dtype=torch.float64)).sum())
    assert float(volume.values.double().sum()) * 3.0**3 == pytest.approx(forward, rel=1e-5)


def test_extra_b_multiplies_by_its_debye_waller_factor(generator: torch.Generator) -> None:
    atoms = random_atoms(50, 15.0, generator)
    plain = density_transform(atoms, DensityGrid(24, 2.0, 4.0), ORIGIN)
    blurred = density_transform(atoms, DensityGrid(24, 2.0, 4.0, extra_b_A2=150.0), ORIGIN)
    s = frequencies_per_A(24, 2.0).norm(dim=-1)
    assert float((blurred - plain * torch.exp(-150 * s**2 / 4)).abs().max()) < 1e-4 * float(plain.abs().max())


def test_the_low_pass_has_the_stated_edge() -> None:
    amplitude = soft_low_pass(torch.tensor([0.0, 0.0899, 0.1, 0.11, 0.2], dtype=torch.float64), 10.0)
    torch.testing.assert_close(amplitude, torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0], dtype=torch.float64))


def test_nothing_lies_beyond_the_resolution(generator: torch.Generator) -> None:
    volume = atoms_to_density(random_atoms(50, 15.0, generator), DensityGrid(32, 2.0, 8.0))
    power = rfft3_centred(volume.values.double()).abs()
    beyond = frequencies_per_A(32, 2.0).norm(dim=-1) > 1.1 / 8
    assert float(power[beyond].max()) < 1e-5 * float(power.max())


@pytest.mark.parametrize("box", [32, 33])
def test_the_centre_of_mass_lies_at_the_box_centre(box: int, generator: torch.Generator) -> None:
    elements = ["C"] * 40
    xyz = (torch.randn(40, 3, generator=generator, dtype=torch.float64) * 5 + 100).tolist()
    values = atoms_to_density(make_atoms(elements, xyz, [20.0] * 40), DensityGrid(box, 2.0, 6.0)).values.double()
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    for dims in ((1, 2), (0, 2), (0, 1)):
        assert abs(float((values.sum(dims) * axis).sum() / values.sum())) < 0.02


def test_a_model_that_does_not_fit_is_refused_with_a_box_that_does(generator: torch.Generator) -> None:
    atoms = random_atoms(50, 60.0, generator)
    with pytest.raises(ConfigError, match=r"does not fit.*Give --box") as refused:
        atoms_to_density(atoms, DensityGrid(32, 2.0, 8.0))
    box = int(str(refused.value).split("--box ")[1].split()[0])
    atoms_to_density(atoms, DensityGrid(box, 2.0, 8.0))


@pytest.mark.parametrize("bad", [{"box": 4}, {"voxel_size_A": 0.0}, {"resolution_A": 3.0}, {"voxel_size_A": math.nan}])
def test_impossible_grids_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"--(box|pixel-size|resolution)"):
        DensityGrid(**({"box": 32, "voxel_size_A": 2.0, "resolution_A": 8.0} | bad))


def test_inputs_stay_untouched(generator: torch.Generator) -> None:
    atoms = random_atoms(20, 10.0, generator)
    before = [t.clone() for t in (atoms.xyz_A, atoms.b_A2, atoms.occupancy)]
    atoms_to_density(atoms, DensityGrid(24, 2.0, 6.0))
    assert all(torch.equal(a, b) for a, b in zip(before, (atoms.xyz_A, atoms.b_A2, atoms.occupancy)))
