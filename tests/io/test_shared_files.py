"""Every real file opens, or is refused for the reason stated here."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitreous.errors import VitreousError
from vitreous.io import open_particles
from vitreous.io.cryodrgn import read_cryodrgn_ctf, read_cryodrgn_poses

NO_CTF: dict[str, Any] = {"ctf": Path("none"), "pixel_size_A": 1.0}
PROJECTIONS = "particles/relion_project_reference/rln_proj"

OPENS: list[tuple[str, dict[str, Any], int, int]] = [
    ("particles/empiar10076_7x320/empiar_10076_7.cs", {}, 7, 320),
    ("particles/empiar10076_7x320/empiar_10076_7.star", {}, 7, 320),
    ("particles/empiar10076_7x320/empiar_10076_7.mrc", NO_CTF, 7, 320),
    ("particles/relion31_5x256/relion31.star", {}, 5, 256),
    ("particles/relion31_5x256/relion31.mrcs", NO_CTF, 5, 256),
    ("particles/trpv1_10x48/trpv1_small_stack.mrcs", NO_CTF, 10, 48),
    *[(f"{PROJECTIONS}_{box}.{suffix}", NO_CTF, 5, box) for box in (64, 65) for suffix in ("star", "mrcs")],
    *[
        (f"{PROJECTIONS}_{box}_{kind}.{suffix}", NO_CTF, 4, box)
        for box in (64, 65)
        for kind in ("centered", "shifted")
        for suffix in ("star", "mrcs")
    ],
]

REFUSED: list[tuple[str, str]] = [
    ("particles/relion31_5x256/FinalRefinement-OriginalParticles-PfCRT.star", "no column rlnAmplitudeContrast"),
    ("particles/relion31_5x256/cryosparc_J2_particles_exported.cs", "1 of 1 image files not found"),
    ("particles/relion31_5x256/relion31.6opticsgroups.star", "beam tilt"),
    ("particles/relion31_5x256/relion5.star", "listed more than once"),
    ("particles/trpv1_10x48/trpv1_small_stack.star", "1 of 1 image files not found"),
    ("particles/trpv1_10x48/trpv1_volume.mrc", "looks like a map"),
    ("particles/empiar10076_7x320/empiar_10076_7.mrc", "no CTF values"),
    ("formats/cryosparc_P12_J24_001_particles.cs", "50 of 50 image files not found"),
    ("formats/empiar10204_bgal_particles.star.gz", "gunzip"),
    ("formats/t20s_J209_000_particles.cs.gz", "gunzip"),
    ("formats/pose.cs.pkl", "unknown kind of particle file"),
    ("formats/ctf2.pkl", "unknown kind of particle file"),
]

PACKED: list[tuple[str, str]] = [
    ("formats/empiar10204_bgal_particles.star.gz", "image files not found"),
    ("formats/t20s_J209_000_particles.cs.gz", "image files not found"),
]


@pytest.mark.parametrize(("name", "options", "n", "box"), OPENS, ids=[case[0] for case in OPENS])
def test_opens(shared_data: Path, name: str, options: dict[str, Any], n: int, box: int) -> None:
    opened = open_particles(shared_data / name, **options)
    assert (len(opened), opened.box) == (n, box)
    assert opened.images().isfinite().all()


@pytest.mark.parametrize(("name", "reason"), REFUSED, ids=[case[0] for case in REFUSED])
def test_is_refused_for_a_stated_reason(shared_data: Path, name: str, reason: str) -> None:
    with pytest.raises(VitreousError, match=reason):
        open_particles(shared_data / name)


@pytest.mark.parametrize(("name", "reason"), PACKED, ids=[case[0] for case in PACKED])
def test_unpacked_it_only_lacks_its_images(shared_data: Path, tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / Path(name).stem
    path.write_bytes(gzip.decompress((shared_data / name).read_bytes()))
    with pytest.raises(VitreousError, match=reason):
        open_particles(path)


def test_no_file_is_left_out(shared_data: Path) -> None:
    listed = {shared_data / case[0] for case in [*OPENS, *REFUSED]}
    present = {path for folder in ("particles", "formats") for path in (shared_data / folder).rglob("*.*")}
    assert {path for path in present if path.is_file()} == listed


def test_trpv1_opens_where_its_stack_has_the_name_that_it_gives(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "particles" / "trpv1_10x48"
    shutil.copy(folder / "trpv1_small_stack.mrcs", tmp_path / "batch_0_restacked.mrc")
    opened = open_particles(folder / "trpv1_small_stack.star", datadir=tmp_path)
    assert opened.pixel_size_A == pytest.approx(4.88)
    assert opened.poses is not None


def test_a_star_and_a_cs_of_the_same_particles_agree(shared_data: Path) -> None:
    folder = shared_data / "particles" / "empiar10076_7x320"
    star, cs = (open_particles(folder / f"empiar_10076_7.{suffix}") for suffix in ("star", "cs"))
    assert star.ids.tolist() == cs.ids.tolist()
    assert star.pixel_size_A == pytest.approx(cs.pixel_size_A, abs=1e-5)
    for name in ("voltage_kV", "cs_mm", "amplitude_contrast", "defocus_u_A", "defocus_v_A", "defocus_angle_deg"):
        np.testing.assert_allclose(getattr(star.optics, name), getattr(cs.optics, name), rtol=1e-6)
    np.testing.assert_allclose(star.images(), cs.images(), atol=1e-5)


def test_cryodrgn_pickles_are_read(shared_data: Path) -> None:
    poses = read_cryodrgn_poses(shared_data / "formats" / "pose.cs.pkl", 2019, 531.0)
    assert len(poses) == 2019
    ids = np.arange(2019).astype(str)
    assert len(read_cryodrgn_ctf(shared_data / "formats" / "ctf2.pkl", 2019, ids)[0]) == 2019
