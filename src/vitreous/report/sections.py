"""The sections of the report, from top to bottom; each is empty where its files are absent."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from vitreous.data import Volume
from vitreous.io.maps import read_map
from vitreous.report import markup
from vitreous.report.charts import Chart, histogram
from vitreous.report.folder import RunFiles
from vitreous.report.headline import file_size, key_numbers, verdict_of, warnings_of
from vitreous.report.latent_view import latent_figure, latent_view
from vitreous.report.map_levels import levels_of
from vitreous.report.orientation_charts import resolution_map, sampling_chart, view_chart
from vitreous.report.particle_charts import (
    class_chart,
    defocus_chart,
    score_charts,
    shift_chart,
)
from vitreous.report.pictures import central_slices, movie, projections, thumbnail
from vitreous.report.progress_charts import progress_charts
from vitreous.report.resolution_charts import cone_chart, fsc_chart
from vitreous.runs.manifest import Manifest

_THUMBNAILS = 24
_MOTION_MAPS = 9
_FRAMES = 25
_IN_HEADLINE = frozenset(
    {*("verdict", "warnings", "resolution_A", "symmetry", "seconds", "peak_memory_MB", "particles")}
)
_MEANING = {
    "volume.mrc": "the map",
    "half1.mrc": "first half-map, neither masked nor sharpened",
    "half2.mrc": "second half-map",
    "mask.mrc": "soft mask",
    "particles.star": "particles with their poses",
    "fsc.csv": "FSC curves as a table",
    "fsc.xml": "FSC curve for deposition",
    "conical_fsc.csv": "FSC and sampling by direction",
    "latents.npz": "coordinates of the particles in the latent space",
    "flexibility.mrc": "variance of the density over the particles' latents",
    "movie.cxc": "plays the maps in ChimeraX",
    "summary.json": "the result in numbers",
    "metrics.jsonl": "log of numbers",
    "manifest.yaml": "what was run, on what, with what",
    "checkpoint.safetensors": "state to go on from",
}


def headline(files: RunFiles) -> str:
    """Verdict, numbers and warnings."""
    verdict = verdict_of(files)
    tiles = "".join(
        f"<div><dt>{markup.text(label)}</dt><dd>{markup.text(number)}<small>{markup.text(unit)}</small></dd></div>"
        for number, unit, label in key_numbers(files)
    )
    warned = "".join(f"<li>{markup.text(warning)}</li>" for warning in warnings_of(files))
    tiled = f'<dl class="tiles">{tiles}</dl>\n' if tiles else ""
    noted = f'<aside class="warnings" aria-labelledby="w"><h2 id="w">Please note</h2><ul>{warned}</ul></aside>'
    noted = noted if warned else ""
    return (
        f'<p class="verdict"><span class="badge {verdict.tone}">{markup.text(verdict.word)}</span> '
        f"{markup.text(verdict.sentence)}</p>\n{tiled}{noted}"
    )


def map_section(files: RunFiles) -> str:
    """Isosurface, slices and projections of ``volume.mrc``."""
    volume = files.run.map()
    if volume is None:
        return ""
    size = f"{volume.box}³ voxels of {volume.voxel_size_A:.4g} Å"
    shown = (
        '<div class="slabs">'
        + markup.pictures(central_slices(volume), "slices")
        + markup.pictures(projections(volume), "projections")
        + f'<p class="note">{size}. Top: slices through the centre; bottom: projections. Bright is dense.</p></div>'
    )
    return markup.section("map", "Map", f'<div class="map">{_surface(volume, files.run.map("mask"))}{shown}</div>')


def _surface(volume: Volume, mask: Volume | None) -> str:
    levels = levels_of(volume, mask)
    if not levels:
        return ""
    middle = len(levels) // 2
    return (
        '<figure class="card surface"><div id="surface" role="img" aria-label="Isosurface of the map"></div>'
        f'<script type="application/json" id="levels">{markup.embedded([level.payload() for level in levels])}</script>'
        f'<div class="control"><label for="level">Density level</label>'
        f'<input type="range" id="level" min="0" max="{len(levels) - 1}" step="1" value="{middle}">'
        '<output id="level-text" for="level"></output></div>'
        "<figcaption>Drag to turn, scroll to zoom. Shown at reduced sampling, without specks; the mass assumes protein "
        "(1.21 Å³ per dalton).</figcaption></figure>"
    )


def resolution_section(files: RunFiles) -> str:
    """FSC curves."""
    return markup.section("resolution", "Resolution", markup.charts([fsc_chart(files.run.curves)]))


def orientation_section(files: RunFiles) -> str:
    """Views, how they sample Fourier space, and the resolution by direction."""
    cones, summary, views = files.run.cones, files.run.summary or {}, view_chart(files.particles)
    if cones is None:
        return markup.section("orientations", "Orientations", markup.charts([views and replace(views, width="wide")]))
    drawn = [views, sampling_chart(cones, summary), resolution_map(cones, summary), cone_chart(cones)]
    return markup.section("orientations", "Orientations", markup.charts(drawn))


def particle_section(files: RunFiles) -> str:
    """Shifts, defocus and scores."""
    stars = files.particles
    drawn = markup.charts([shift_chart(stars), defocus_chart(stars), *score_charts(stars)])
    return markup.section("particles", "Particles", drawn, _half_sets(files))


def _half_sets(files: RunFiles) -> str:
    subset = files.particles.get("rlnRandomSubset")
    if subset is None:
        return ""
    first, second = int((subset == 1).sum()), int((subset == 2).sum())
    return f'<p class="note">Half-sets: {first:,} and {second:,} particles.</p>'


def variability_section(files: RunFiles) -> str:
    """Latents, classes and the maps that belong to them."""
    latents = latent_figure(latent_view(files))
    drawn = [_only_coordinate(files), class_chart(files.particles)]
    movies = [movie([read_map(path) for path in _some(maps)], f"along {name}") for name, maps in files.series().items()]
    maps = files.other_maps()
    shown = [thumbnail(volume, name) for volume, name in map(_named_map, maps[:_THUMBNAILS])]
    left = len(maps) - _THUMBNAILS
    more = f'<p class="note">{left} more map{"s" if left > 1 else ""} in the folder.</p>' if left > 0 else ""
    return markup.section(
        "variability",
        "Classes and motions",
        f'<div class="grid">\n{latents}\n</div>' if latents else "",
        markup.charts(drawn),
        markup.pictures(movies, "thumbnails"),
        _motion_maps(files),
        markup.pictures(shown, "thumbnails"),
        more,
    )


def _motion_maps(files: RunFiles) -> str:
    """Where the density varies, and the points that attend to each of the first queries."""
    maps = files.motion_maps()
    if not maps:
        return ""
    shown = [thumbnail(volume, name) for volume, name in map(_named_map, maps[:_MOTION_MAPS])]
    words = "Flexibility is the variance of the density over the latents of the particles: bright is what moves."
    if len(maps) > 1:
        words += (
            f" The maps of {len(maps) - 1} queries (folder attention) say which share of its density a point takes from"
            " each query; the first are those of what moves most."
        )
    return markup.pictures(shown, "thumbnails") + f'<p class="note">{words}</p>'


def _only_coordinate(files: RunFiles) -> Chart | None:
    latents = files.run.latents
    if latents is None or latents[1].shape[1] != 1 or len(latents[1]) < 2:
        return None
    return histogram(latents[1][:, 0].astype(np.float64), "Latent coordinate", "z")


def _some(maps: Sequence[Path]) -> Sequence[Path]:
    """Return at most so many maps of a series as a movie needs, evenly spaced."""
    return maps[:: math.ceil(len(maps) / _FRAMES)]


def _named_map(path: Path) -> tuple[Volume, str]:
    return read_map(path), path.stem.replace("_", " ")


def progress_section(files: RunFiles) -> str:
    """Logged numbers."""
    return markup.section("progress", "Course of the run", markup.charts(progress_charts(files.run.metrics)))


def settings_section(files: RunFiles) -> str:
    """Command line, options, inputs, versions and the other numbers of the summary."""
    manifest, summary = files.run.manifest, files.run.summary or {}
    made_with = {
        "vitreous": manifest.vitreous,
        "commit": manifest.commit,
        "seed": manifest.seed,
        **manifest.versions,
        **manifest.machine,
    }
    blocks = [
        _command_line(manifest),
        markup.details("Options", markup.table(manifest.config)),
        markup.details("Inputs", "".join(markup.table(asdict(file)) for file in manifest.inputs)),
        markup.details("Further results", markup.table({k: v for k, v in summary.items() if k not in _IN_HEADLINE})),
        markup.details("Versions and machine", markup.table(made_with)),
    ]
    return markup.section("settings", "How it was made", *blocks)


def _command_line(manifest: Manifest) -> str:
    line = shlex.join(map(str, manifest.command))
    notes = "".join(f"<li>{markup.text(note)}</li>" for note in manifest.notes)
    return f'<pre class="command"><code>{markup.text(line)}</code></pre>' + (f"<ul>{notes}</ul>" if notes else "")


def files_section(files: RunFiles) -> str:
    """Links to the files of the folder."""
    found = [p for p in sorted(files.run.path.rglob("*")) if p.is_file() and not _is_hidden(p, files.run.path)]
    rows = "".join(_file_row(path, files.run.path) for path in found[:200])
    table = f'<div class="scroll"><table class="files">{rows}</table></div>' if rows else ""
    return markup.section("files", "Files", table)


def _is_hidden(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder)
    return inside.name == "report.html" or any(part.startswith(".") for part in inside.parts)


def _file_row(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    usual = "attention map of a query" if name.startswith("attention/") else "map" if path.suffix == ".mrc" else ""
    meaning = _MEANING.get(name, usual)
    return (
        f'<tr><th scope="row"><a href="./{quote(name)}">{markup.text(name)}</a></th>'
        f'<td>{meaning}</td><td class="size">{file_size(path.stat().st_size)}</td></tr>'
    )
