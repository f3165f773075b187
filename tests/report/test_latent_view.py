"""What the page gets to draw of latents: the numbers of the folder, aligned with the particles' names."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.report.conftest import PARTICLES, write_example
from vitreous.report.folder import RunFiles
from vitreous.report.latent_view import latent_figure, latent_view


@pytest.fixture
def files(tmp_path) -> RunFiles:
    folder = write_example(tmp_path / "run")
    z = np.load(folder / "latents.npz")["z"].astype(float)
    lines = ["name,z1,z2,z3,z4"]
    for way, rows in (("pc1", (0, 1, 2)), ("kmeans", (7,))):
        lines += [f"{way}_{k},{','.join(map(str, z[row]))}" for k, row in enumerate(rows)]
    (folder / "volumes").mkdir(exist_ok=True)
    (folder / "volumes" / "latents.csv").write_text("\n".join(lines) + "\n")
    return RunFiles.read(folder)


def test_coordinates_colours_and_names_belong_to_the_same_particles(files) -> None:
    ids, z = files.run.latents
    view = latent_view(files)
    assert len(view.ids) == view.total == PARTICLES
    place = {name: row for row, name in enumerate(ids.tolist())}
    rows = [place[name] for name in view.ids.tolist()]
    np.testing.assert_allclose(view.axes["z3"], z[rows, 2])
    np.testing.assert_allclose(view.colours["cluster"], files.particles["rlnClassNumber"][rows])
    first = next(title for title in view.axes if title.startswith("principal component 1 ("))
    assert np.var(view.axes[first]) >= max(np.var(z, axis=0)) - 1e-9
    shares = [int(share) for share in re.findall(r"\((\d+)%", " ".join(view.axes))]
    assert sum(shares) == pytest.approx(100, abs=2)


def test_ways_lie_where_their_particles_lie_on_every_axis(files) -> None:
    umap = np.random.default_rng(1).normal(size=(PARTICLES, 2))
    files = replace(files, particles={**files.particles, "vitreousUmap1": umap[:, 0], "vitreousUmap2": umap[:, 1]})
    ids, z = files.run.latents
    view = latent_view(files)
    assert set(view.ways) == {"pc1", "kmeans"}
    np.testing.assert_allclose(view.ways["pc1"]["z2"], z[:3, 1], rtol=1e-5)
    np.testing.assert_allclose(view.ways["pc1"]["UMAP 2"], umap[:3, 1])
    shown = view.ids.tolist().index(ids[7])
    for title, values in view.axes.items():
        assert view.ways["kmeans"][title][0] == pytest.approx(values[shown], abs=1e-5)


def test_of_many_particles_some_are_shown_and_it_is_said(files) -> None:
    rng = np.random.default_rng(0)
    many = (np.array([f"{k}@a.mrcs" for k in range(5000)]), rng.normal(size=(5000, 2)).astype(np.float32))
    files = replace(files, run=replace(files.run, latents=many, path=files.run.path / "none"), particles={})
    view = latent_view(files)
    assert (len(view.ids), view.total, view.colours, view.ways) == (4000, 5000, {}, {})
    assert "4,000 of 5,000 particles" in latent_figure(view)


def test_the_figure_offers_every_axis_and_colour_and_escapes_names(files) -> None:
    view = latent_view(files)
    evil = replace(view, ids=np.array(["</script><b>@a", *view.ids[1:].tolist()]))
    html = latent_figure(evil)
    assert html.count("</script>") == 1
    payload = json.loads(html.split('id="latent-data">')[1].split("</script>")[0])
    assert payload["ids"][0] == "&lt;/script&gt;&lt;b&gt;@a"
    options = re.findall(r"<option(?: selected)?>([^<]*)</option>", html)
    assert options == [*payload["axes"], *payload["axes"], *payload["colours"], "none"]
    assert {len(values) for values in payload["axes"].values()} == {PARTICLES}
    assert list(payload["ways"]) == ["pc1", "kmeans"]


def test_one_dimension_has_no_plane(files) -> None:
    ids, z = files.run.latents
    assert latent_view(replace(files, run=replace(files.run, latents=(ids, z[:, :1])))) is None
    assert latent_figure(None) == ""
