"""Write ``report.html``: one file that needs no network and no other file to be read."""

from datetime import UTC, datetime
from importlib.resources import files as package_files
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from vitreous import __version__
from vitreous.io.atomic import atomic_path
from vitreous.report import markup, sections
from vitreous.report.folder import RunFiles

REPORT = "report.html"


def write_report(folder: Path) -> Path:
    """Write the report of a run folder into it and return its path.

    Only files of the folder are read; a section whose files are absent is left out.

    Raises
    ------
    InputError
        Where the folder is no run folder or holds a damaged file.
    ResourceError
        Where the system refuses to read or write.
    """
    page = render(RunFiles.read(folder))
    path = folder / REPORT
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")  # bytes of file names
    return path


def render(files: RunFiles) -> str:
    """Return the page."""
    parts = [
        sections.map_section(files),
        sections.resolution_section(files),
        sections.orientation_section(files),
        sections.particle_section(files),
        sections.variability_section(files),
        sections.progress_section(files),
        sections.settings_section(files),
        sections.files_section(files),
    ]
    content = "\n".join(part for part in parts if part)
    draws = '<script type="application/json"' in content
    run, folder = files.run.manifest.name, files.run.path.resolve().name
    return Template(_packaged("template.html")).substitute(
        title=markup.text(f"{folder} · {run}"),
        run=markup.text(run),
        folder=markup.text(folder),
        started=markup.text(_date(files.run.manifest.started)),
        version=markup.text(__version__),
        written=datetime.now(UTC).strftime("%Y-%m-%d"),
        style=_packaged("style.css"),
        headline=sections.headline(files),
        content=content,
        plotly=f"<script>{get_plotlyjs()}</script>" if draws else "",
        script=_packaged("report.js"),
    )


def _date(started: str) -> str:
    """Return ``2025-03-04 10:20 UTC`` of an ISO 8601 time; other words stay as they are."""
    try:
        return datetime.fromisoformat(started).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return started


def _packaged(name: str) -> str:
    return package_files("vitreous.report").joinpath(name).read_text(encoding="utf-8")
