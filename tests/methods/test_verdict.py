"""Verdicts on results whose evidence is made up here."""

from dataclasses import replace

import pytest
import torch

from vitreous.data import ResolutionCurves, Result
from vitreous.methods.search.verdict import Evidence, judge

SHELLS, PIXEL_PER_A = 32, 1 / 200.0


def result(junk_share: float = 0.0, crossing: int = 28) -> Result:
    """Half-maps that agree up to a shell."""
    curve = torch.where(torch.arange(SHELLS) < crossing, 0.99, 0.0)
    frequency = torch.arange(SHELLS) * PIXEL_PER_A
    curves = ResolutionCurves(frequency, curve, curve, torch.zeros(SHELLS), curve)
    return replace(Result(), curves=curves, metrics={"junk_share": junk_share})


def evidence(effective: float, found_again: float | None, agreement: float = 12.0) -> Evidence:
    return Evidence(agreement, torch.full((9,), effective), torch.ones(9), found_again, independent=True)


def test_good_evidence_is_solved() -> None:
    assert judge(result(), evidence(1.2, None), 12.0) == ("solved", [])


@pytest.mark.parametrize(
    ("found_again", "verdict"), [(None, "ambiguous"), (0.9, "solved"), (0.6, "ambiguous"), (0.1, "failed")]
)
def test_poses_that_the_grid_leaves_open_may_be_settled_by_finer_maps(found_again: float | None, verdict: str) -> None:
    assert judge(result(), evidence(60.0, found_again), 12.0)[0] == verdict


def test_a_map_that_a_third_of_the_images_do_not_show_is_doubtful() -> None:
    verdict, reasons = judge(result(junk_share=0.46), evidence(1.2, None), 12.0)
    assert verdict == "ambiguous"
    assert "46%" in reasons[0]
    assert judge(result(junk_share=0.25), evidence(1.2, None), 12.0)[0] == "solved"


def test_half_maps_that_share_a_blob_have_failed() -> None:
    assert judge(result(crossing=5), evidence(1.2, None), 12.0)[0] == "failed"


def test_a_map_that_explains_little_of_the_images_is_not_solved() -> None:
    made = result()
    little, enough = (replace(made, metrics={"junk_share": 0.0, "explained_share": share}) for share in (0.3, 0.9))
    verdict, reasons = judge(little, evidence(1.2, None), 12.0)
    assert verdict == "ambiguous"
    assert "explains 30%" in reasons[0]
    assert judge(enough, evidence(1.2, None), 12.0)[0] == "solved"
    unknown = replace(made, metrics={"explained_share": float("nan")})
    assert judge(unknown, evidence(1.2, None), 12.0)[0] == "solved"
