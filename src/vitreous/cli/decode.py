"""``vitreous decode``: maps at any latents of a run of ``vitreous flex``, as a series that can be played."""

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tyro.conf import OmitArgPrefixes, arg

from vitreous.cli.context import RunContext
from vitreous.cli.embed import load_run
from vitreous.cli.latent_owner import refuse_other_owner
from vitreous.cli.options import Basic, Output
from vitreous.cli.running import write_report_of
from vitreous.compute.memory import MB, peak_memory_MB
from vitreous.compute.threads import set_threads
from vitreous.data import LatentVolume
from vitreous.errors import ConfigError, InputError, ResourceError
from vitreous.evaluate.poses import match_on_ids
from vitreous.runs.manifest import Manifest, fingerprint
from vitreous.runs.reader import read_latents, read_points
from vitreous.runs.store import STATE, RunFolder, refuse_unusable
from vitreous.typing import Float, Tensor

_FAR = 10.0
"""Latents farther from the centre than this many times the farthest particle are no latents of the run."""

_HEADER_BYTES = 1024

_COMPONENT = re.compile(r"pc([1-9]\d*)")


@dataclass(frozen=True)
class Decode:
    """Make maps at any latents of a run of vitreous flex, or along a way through them.

    The maps are one series: ChimeraX plays it where movie.cxc is opened, the report shows it as a moving projection.
    """

    run_folder: Annotated[Path, arg(name="run")]
    """Folder of a run of vitreous flex."""

    output: Output
    """Folder for the maps, their latents and the report."""

    latents: Path | None = None
    """The latents: .csv with columns z1, z2 … and, where wanted, name; or .npz with z (every row becomes a map)."""

    along: str | None = None
    """A way instead: pc1, pc2 … (a principal component, from its 5th to its 95th percentile), path (from particle to
    neighbouring particle, the shortest) or line (straight)."""

    ends: tuple[str, str] | None = None
    """Particles, index@stack, between which path and line lead; those nearest to the ends of pc1 when not given."""

    points: int = 20
    """Maps on the way."""

    threads: int | None = None
    """CPU threads; all cores that the process may use when not given."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if (self.latents is None) == (self.along is None):
            raise ConfigError("give either latents or a way through them", remedy="Give --latents FILE or --along pc1")
        if self.along not in (None, "path", "line") and not _COMPONENT.fullmatch(self.along or ""):
            raise ConfigError(
                "--along is not known", expected="pc1, pc2 …, path or line", found=self.along, remedy="Give one of them"
            )
        if self.ends is not None and self.along not in ("path", "line"):
            raise ConfigError("--ends belongs to --along path and line", remedy="Leave it out")
        if self.points < 2:
            raise ConfigError("--points must be at least 2", found=self.points, remedy="Change --points")

    def run(self, context: RunContext) -> None:
        """Load the run, find the latents, decode, write."""
        refuse_unusable(self.output, overwrite=self.common.overwrite)
        set_threads(self.threads)
        model, known = load_run(self.run_folder)
        if self.latents is None:
            _require_disk(self.output, self.points, model.box)
        points = self._points(known)
        _require_disk(self.output, len(points), model.box)
        inputs = [self.run_folder / STATE, *([] if self.latents is None else [self.latents])]
        manifest = Manifest(context.name, context.command, context.config, inputs=[fingerprint(p) for p in inputs])
        named = context.progress().track(points.items(), "Decoding maps", len(points))
        with RunFolder.create(self.output, manifest, overwrite=self.common.overwrite) as folder:
            folder.write_maps(LatentVolume(name, z, model.volume(z)) for name, z in named)
            folder.write_summary(_summary(points, folder.started, context))
        write_report_of(context, self.output)
        context.say(f"{len(points)} maps of {model.box}³ voxels: {self.output / 'volumes'}")

    def _points(self, known: Float[Tensor, "m dims"]) -> dict[str, Tensor]:
        """Return the latents to decode by name."""
        if self.latents is None:
            way = list(self._way(known, str(self.along)))
            return {f"{self.along}_{number:03d}": z for number, z in enumerate(way, 1)}
        refuse_other_owner(self.latents, self.run_folder, "--run")
        names, z = read_points(self.latents)
        if z.shape[1] != known.shape[1]:
            raise InputError(
                "the latents are not of this run",
                expected=f"{known.shape[1]} coordinates",
                found=z.shape[1],
                remedy="Give one column per dimension of the run's z",
                path=self.latents,
            )
        centre = known.mean(0)
        far = (torch.from_numpy(z) - centre).norm(dim=1) > _FAR * (known - centre).norm(dim=1).max()
        if far.any():
            raise InputError(
                f"latent {names[int(far.double().argmax())]} lies far outside those of the run's particles",
                remedy="Decode latents like those in latents.npz of the run: elsewhere the networks know nothing",
                path=self.latents,
            )
        return dict(zip(names, torch.from_numpy(z)))

    def _way(self, known: Float[Tensor, "m dims"], along: str) -> Iterator[Tensor]:
        from vitreous.analysis.embedding import along_axis, principal_axes
        from vitreous.analysis.trajectories import direct_line, evenly_along, graph_path

        component = _COMPONENT.fullmatch(along)
        if component is not None:
            axes, number = principal_axes(known), int(component[1])
            if number > len(axes.axes):
                raise ConfigError(
                    f"--along {along}: there is no such component",
                    expected=f"pc1 to pc{len(axes.axes)}",
                    remedy="Name one of these",
                )
            return iter(along_axis(known, axes, number - 1, self.points))
        start, end = self._ends(known)
        if start == end:
            raise ConfigError("--ends: both ends are one particle", remedy="Name two")
        if along == "line":
            return iter(direct_line(known[start], known[end], self.points))
        way = graph_path(known, start, end, torch.Generator().manual_seed(0))
        return iter(evenly_along(known[way], self.points))

    def _ends(self, known: Float[Tensor, "m dims"]) -> tuple[int, int]:
        if self.ends is None:
            from vitreous.analysis.description import ends

            return ends(known)
        ids = read_latents(self.run_folder / "latents.npz")[0]
        start, end = (_row_of(name, ids) for name in self.ends)
        return start, end


def _require_disk(folder: Path, maps: int, box: int) -> None:
    """Raise ResourceError where the disk has no room for so many maps."""
    needed = maps * (4 * box**3 + _HEADER_BYTES)
    place = next(part for part in folder.absolute().parents if part.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ResourceError(
            f"the disk has no room for {maps} maps of {box}³ voxels",
            expected=f"{needed / MB:,.0f} MB",
            found=f"{free / MB:,.0f} MB",
            remedy="Decode fewer: a table with some of the latents, or fewer --points",
            path=place,
        )


def _row_of(name: str, ids: NDArray[Any]) -> int:
    try:
        return int(match_on_ids(ids, np.array([name]), partial=True)[0][0])
    except InputError as error:
        raise ConfigError(
            "--ends names a particle that the run does not have",
            expected=f"index@stack, such as {ids[0]}",
            found=name,
            remedy="Name two particles as latents.npz and the report do",
        ) from error


def _summary(points: Mapping[str, Tensor], started: float, context: RunContext) -> dict[str, Any]:
    return {
        "verdict": "done",
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_MB": round(peak_memory_MB()),
        "maps": len(points),
        "warnings": list(context.warnings),
    }
