"""What the charts show, against numbers known beforehand."""

import base64

import numpy as np
import pytest
import torch

from tests.report.conftest import ball
from vitreous.analysis.conical_fsc import cone_axes
from vitreous.data import ConicalCurves, ResolutionCurves, Volume
from vitreous.report.charts import histogram, numbers
from vitreous.report.headline import duration, file_size, memory
from vitreous.report.orientation_charts import resolution_map, sampling_chart, view_chart
from vitreous.report.particle_charts import defocus_chart, score_charts, shift_chart
from vitreous.report.pictures import central_slices, projections, scale_bar
from vitreous.report.progress_charts import progress_charts
from vitreous.report.resolution_charts import cone_chart, crossing_per_A, fsc_chart


def unpack(packed):
    shape = tuple(int(side) for side in packed["shape"].split(","))
    return np.frombuffer(base64.b64decode(packed["bdata"]), "<f4").reshape(shape)


def test_crossing_is_interpolated_at_the_first_fall():
    frequency = np.arange(6) * 0.05
    curve = np.array([1, 1, 0.243, 0.043, 0.9, 0.0])
    assert crossing_per_A(frequency, curve) == pytest.approx(0.125)
    assert crossing_per_A(frequency, np.ones(6)) is None


def test_fsc_chart_draws_the_curves_that_exist_and_names_the_crossing():
    frequency = torch.arange(6, dtype=torch.float64) * 0.05
    falling = torch.tensor([1, 1, 0.243, 0.043, 0, 0], dtype=torch.float64)
    chart = fsc_chart(ResolutionCurves(frequency, torch.ones(6, dtype=torch.float64), corrected=falling))
    assert chart is not None
    assert [trace.get("name") for trace in chart.data] == ["unmasked", "corrected for the mask", None]
    assert chart.data[-1]["x"] == [pytest.approx(0.125)]
    assert "8.00 Å" in chart.caption
    ticks = dict(zip(chart.layout["xaxis"]["ticktext"], chart.layout["xaxis"]["tickvals"]))
    assert all(place == pytest.approx(1 / float(text), rel=1e-5) for text, place in ticks.items())


def test_histogram_counts_every_value_once():
    values = np.concatenate([np.random.default_rng(0).normal(size=5000), [1e6, -1e6]])
    assert sum(histogram(values, "t", "x").data[0]["y"]) == len(values)
    whole = histogram(np.array([1.0, 2, 2, 3, 3, 3]), "t", "x").data[0]
    assert dict(zip(whole["x"], whole["y"])) == {1: 1, 2: 2, 3: 3}


def test_gaps_are_null():
    assert numbers(np.array([1.5, np.nan, np.inf])) == [1.5, None, None]


def test_shifts_have_the_opposite_sign_of_origins():
    origins = {"rlnOriginXAngst": np.full(50, -3.0), "rlnOriginYAngst": np.full(50, 2.0)}
    chart = shift_chart(origins)
    assert chart is not None
    heat = chart.data[0]
    row, column = np.unravel_index(np.argmax(unpack(heat["z"])), (41, 41))
    assert heat["x"][column] == pytest.approx(3, abs=0.2)
    assert heat["y"][row] == pytest.approx(-2, abs=0.2)


def test_views_from_one_side_are_bright_at_their_place():
    chart = view_chart({"rlnAngleRot": np.full(500, 90.0), "rlnAngleTilt": np.full(500, 90.0)})
    assert chart is not None
    density, x, y = unpack(chart.data[0]["z"]), chart.data[0]["x"], chart.data[0]["y"]
    row, column = np.unravel_index(np.nanargmax(density), density.shape)
    assert x[column] == pytest.approx(1, abs=0.1)
    assert y[row] == pytest.approx(0, abs=0.1)


def cones_with_a_bad_axis():
    """Cones at 5 Å, but at 20 Å and without slices within 25° of z."""
    axes = cone_axes(100)
    poor = axes[:, 2] > np.cos(np.deg2rad(25))
    resolution = torch.where(poor, 20.0, 5.0).double()
    frequency = torch.arange(9, dtype=torch.float64) / 32
    curves = torch.where(frequency < 1 / resolution[:, None], 1.0, 0.0).double()
    return ConicalCurves(frequency, axes, curves, resolution, torch.where(poor, 0.0, 1.0).double())


def value_at(chart, x, y):
    heat = chart.data[0]
    row = int(np.argmin(np.abs(np.array(heat["y"]) - y)))
    return unpack(heat["z"])[row, int(np.argmin(np.abs(np.array(heat["x"]) - x)))]


def test_maps_of_directions_show_what_is_poor_at_both_poles_and_nowhere_else():
    cones = cones_with_a_bad_axis()
    resolution, sampling = resolution_map(cones, {"sphericity": 0.83}), sampling_chart(cones, {})
    for pole in (0.98, -0.98):
        assert value_at(resolution, 0, pole) == pytest.approx(20, abs=0.5)
        assert value_at(sampling, 0, pole) == pytest.approx(-3, abs=0.1)
    for x in (-1.5, 0, 1.5):
        assert value_at(resolution, x, 0) == pytest.approx(5, abs=0.1)
        assert value_at(sampling, x, 0) == pytest.approx(0, abs=0.05)
    assert "5.0 Å in the median" in resolution.caption
    assert "worse than 20.0 Å" in resolution.caption
    assert "sphericity 0.83" in resolution.caption
    assert resolution_map(None, {}) is None
    assert sampling_chart(None, {}) is None


def test_equal_resolutions_do_not_fill_the_scale():
    even = cones_with_a_bad_axis()
    even = ConicalCurves(
        even.frequency_per_A, even.directions, even.fsc, torch.full((100,), 4.0).double(), even.sampling
    )
    heat = resolution_map(even, {}).data[0]
    assert (heat["zmin"], heat["zmax"]) == (4.0, 5.0)


def test_band_of_cones_reaches_from_the_worst_to_the_best_twentieth():
    high, low, lowest, median = cone_chart(cones_with_a_bad_axis()).data
    shell = 4  # 8 Å: nine cones in ten reach it
    assert [trace["y"][shell] for trace in (high, low, lowest, median)] == [1, 0, 0, 1]
    assert low["fill"] == "tonexty"
    assert cone_chart(None) is None


def test_defocus_is_the_mean_of_both_axes_in_micrometres():
    chart = defocus_chart({"rlnDefocusU": np.full(10, 21000.0), "rlnDefocusV": np.full(10, 19000.0)})
    assert chart is not None
    bars = chart.data[0]
    assert bars["x"][int(np.argmax(bars["y"]))] == pytest.approx(2.0, abs=0.02)
    assert "2,000 Å" in chart.caption


def test_scores_of_ours_are_named_in_words_and_constants_left_out():
    columns = {"vitreousEffectivePoses": np.arange(9.0), "rlnMaxValueProbDistribution": np.ones(9)}
    assert [chart.title for chart in score_charts(columns)] == ["Effective poses"]


def test_progress_is_drawn_against_the_iteration():
    logged = [{"seconds": 9.0 * i, "iteration": i, "loss": 5.0 - i, "stage": "a", "constant": 1} for i in range(3)]
    charts = progress_charts([*logged, {"seconds": 50, "note": "end"}])
    assert [chart.title for chart in charts] == ["Loss"]
    assert charts[0].data[0]["x"] == [0, 1, 2]
    assert charts[0].data[0]["y"] == [5, 4, 3]


def test_pictures_show_the_axis_they_name():
    volume = Volume(ball(32, 5, (8, 0, 0)).clamp_min(0), 2.0)
    slices = {shown.title: shown for shown in central_slices(volume)}
    assert set(slices) == {"slice along z", "slice along y", "slice along x"}
    assert "x to the right, y downwards" in slices["slice along z"].alt
    assert len(projections(volume)) == 3
    assert slices["slice along z"].source != slices["slice along x"].source


@pytest.mark.parametrize(("field_A", "bar_A"), [(64.0, 20), (300.0, 100), (354.0, 100), (29.0, 5)])
def test_scale_bars_are_round(field_A, bar_A):
    length, percent = scale_bar(field_A)
    assert length == pytest.approx(bar_A)
    assert percent == pytest.approx(100 * bar_A / field_A)


def test_times_and_sizes_in_words():
    assert " ".join(duration(185.0)) == "3 min 05 s"
    assert " ".join(duration(7620.0)) == "2 h 07 min"
    assert " ".join(memory(1500.0)) == "1.5 GB"
    assert file_size(2_000) == "2.0 kB"
