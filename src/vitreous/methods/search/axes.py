"""From the random frame of a start to the frame in which its point group has its axes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, tensor, uint8

from vitreous.compute.progress import Progress
from vitreous.data import Journal
from vitreous.methods.search.refinement import Refinement
from vitreous.methods.search.stages import Stages
from vitreous.reconstruct.symmetry_axes import SymmetryFrame, align_to_point_group
from vitreous.reconstruct.symmetry_search import HOLDS, LEAST_SHELL, FoundGroup, find_point_group
from vitreous.typing import Map

LOW_SCORE_CYCLIC, LOW_SCORE = 0.8, 0.65
"""For Cn and for all other groups; measured on start maps of 32 px at SNR 0.3 inside shell 9 (docs/methods/search.md).

One axis is easily found in any map; several at fixed angles are not.
"""

NEARLY = 0.8
"""A group that reaches this share without holding is named: it may be a pseudo-symmetry, or a noisy map."""

FEW_SHELLS = 9
"""Inside fewer shells than this, pseudo-symmetry passes for symmetry (docs/methods/search.md)."""

SETTLING_ROUNDS = 4

IndependentMaps = tuple[Map, Map | None]
"""Two maps of independent halves in one frame, or one map that is taken to be without noise."""


@dataclass(frozen=True)
class MapAxes:
    """The point group of a map and where it has it.

    Attributes
    ----------
    symmetry
        Name of the point group.
    frame
        Where the map has it; None where it has none.
    warnings, metrics
        For the result.
    """

    symmetry: str
    frame: SymmetryFrame | None
    warnings: list[str] = field(default_factory=list)
    metrics: Mapping[str, float] = field(default_factory=dict)


def imposed_axes(
    stages: Stages, progress: Progress, values: Map, symmetry: str, radius: float, *, name: str = "frame"
) -> MapAxes:
    """Axes of a point group that was asked for, in a start map; ``name`` is that of the stage in the journal."""
    frame = symmetry_frame(stages, values, symmetry, radius, name=name)
    progress.message(f"The start agrees with its {symmetry} mates to {frame.score:.2f}")
    warning = symmetry_warning(frame.score, symmetry)
    return MapAxes(symmetry, frame, [] if warning is None else [warning], {"symmetry_agreement": frame.score})


def found_axes(
    stages: Stages, reports: tuple[Progress, Journal], maps: Callable[[], IndependentMaps], radius: float
) -> MapAxes:
    """Point group that a map shows, and its axes; from the journal where they are there."""
    progress, journal = reports

    def compute() -> Mapping[str, Tensor]:
        with progress.stage("Finding the point group"):
            first, second = maps()
            group = find_point_group(first, radius, second)
        journal.log({"stage": "symmetry", "symmetry": group.name, **_metrics(group)})
        return _as_tensors(group)

    group = _from_tensors(stages.once("frame", compute))
    progress.message(f"The map shows the point group {group.name}{_how_well(group)}")
    frame = None if group.name == "C1" else group.frame
    return MapAxes(group.name, frame, group_warnings(group), _metrics(group))


def settled(
    stages: Stages, progress: Progress, refinement: Refinement, start: dict[str, Tensor], found: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Maps of the halves and poses after some rounds without symmetry; from the journal where they are there.

    The starts of both halves lean to the same side: of GroEL's they agree with their D7 mates to 0.92 of what they
    agree with each other, and after four rounds to 0.98.
    """

    def compute() -> Mapping[str, Tensor]:
        references = (start["map1"], start["map2"])
        state = refinement.start((found["rotations"], found["shifts_px"]), start["noise"].mean(0), references)
        for _ in progress.track(range(SETTLING_ROUNDS), "Refining without symmetry"):
            state = refinement.round(state)
        first, second = state.references
        return {"map1": first, "map2": second, "rotations": state.rotations, "shifts_px": state.shifts_px}

    kept = stages.once("settled", compute)
    maps, poses = ({name: kept[name] for name in names} for names in (("map1", "map2"), ("rotations", "shifts_px")))
    return {**start, **maps}, {**found, **poses}


def _metrics(group: FoundGroup) -> dict[str, float]:
    shells = {"symmetry_shell": float(group.shell)}
    if group.name == "C1":
        return shells
    return {"symmetry_agreement": group.frame.score, "symmetry_share": group.share, **shells}


def _how_well(group: FoundGroup) -> str:
    if group.name == "C1":
        return ""
    return f": its worst operation reaches {group.share:.2f} of what is expected inside shell {group.shell}"


def _as_tensors(group: FoundGroup) -> dict[str, Tensor]:
    return {
        "rotation": group.frame.rotation,
        "centre": group.frame.centre_voxels,
        "numbers": tensor([group.frame.score, group.share, group.shell, group.rejected_share]),
        "names": tensor(list(f"{group.name} {group.rejected}".encode()), dtype=uint8),
    }


def _from_tensors(saved: Mapping[str, Tensor]) -> FoundGroup:
    score, share, shell, rejected_share = saved["numbers"].tolist()
    name, rejected = bytes(saved["names"].tolist()).decode().split()
    frame = SymmetryFrame(saved["rotation"], saved["centre"], score)
    return FoundGroup(name, frame, share, int(shell), rejected, rejected_share)


def symmetry_frame(stages: Stages, values: Map, symmetry: str, radius: float, *, name: str = "frame") -> SymmetryFrame:
    """Frame in which a start map has a point group; from the journal where it is there."""

    def compute() -> Mapping[str, Tensor]:
        found = align_to_point_group(values, symmetry, radius)
        return {"rotation": found.rotation, "centre": found.centre_voxels, "score": tensor(found.score)}

    kept = stages.once(name, compute)
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


def group_warnings(group: FoundGroup) -> list[str]:
    """Warnings where the point group that was found may be another."""
    if group.shell < LEAST_SHELL:
        return [
            f"The map is reliable to shell {group.shell} only: its point group cannot be told, and C1 was taken. "
            "Give --symmetry if you know it."
        ]
    warnings = []
    if group.shell < FEW_SHELLS and (group.name != "C1" or group.rejected_share >= NEARLY):
        warnings.append(
            f"The point group {group.name} was decided on {group.shell} shells, where parts that differ look alike. "
            "Compare a run with --symmetry C1."
        )
    if group.rejected_share >= NEARLY:
        warnings.append(
            f"The map nearly has the point group {group.rejected}: its worst operation reaches "
            f"{group.rejected_share:.2f} of the agreement that the map's noise allows ({HOLDS} is asked for), so "
            f"{group.name} was taken. If the particle has {group.rejected}, give --symmetry {group.rejected}."
        )
    return warnings
