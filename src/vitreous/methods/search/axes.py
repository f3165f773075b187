"""From the random frame of a start to the frame in which its point group has its axes."""

from collections.abc import Mapping

from torch import Tensor, tensor

from vitreous.methods.search.stages import Stages
from vitreous.reconstruct.symmetry_axes import SymmetryFrame, align_to_point_group
from vitreous.typing import Map

LOW_SCORE_CYCLIC, LOW_SCORE = 0.8, 0.65
"""For Cn and for all other groups; measured on start maps of 32 px at SNR 0.3 inside shell 9 (docs/methods/search.md).

One axis is easily found in any map; several at fixed angles are not.
"""


def symmetry_frame(stages: Stages, values: Map, symmetry: str, radius: float) -> SymmetryFrame:
    """Frame in which a start map has a point group; from the journal where it is there."""

    def compute() -> Mapping[str, Tensor]:
        found = align_to_point_group(values, symmetry, radius)
        return {"rotation": found.rotation, "centre": found.centre_voxels, "score": tensor(found.score)}

    kept = stages.once("frame", compute)
    return SymmetryFrame(kept["rotation"], kept["centre"], float(kept["score"]))


def brought_onto_axes(
    frame: SymmetryFrame, start: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Start maps and poses of all images in a symmetry frame; everything else as it was."""
    rotations, shifts_px = frame.turned_poses(found["rotations"], found["shifts_px"])
    maps = {name: frame.turned_map(start[name]) for name in ("map1", "map2")}
    return (
        {**start, **maps},
        {**found, "rotations": rotations, "shifts_px": shifts_px},
    )


def symmetry_warning(score: float, symmetry: str) -> str | None:
    """Warning where the start map does not agree with its symmetry mates."""
    doubtful = LOW_SCORE_CYCLIC if symmetry.strip().upper().startswith("C") else LOW_SCORE
    if score >= doubtful:
        return None
    return (
        f"The map found without symmetry hardly shows {symmetry}: it agrees with its symmetry mates to {score:.2f} "
        f"(1 is perfect, below {doubtful} is doubtful). {symmetry} was imposed all the same; compare a run with "
        "--symmetry C1 or another --seed."
    )
