"""Whose latents a file holds: those of different runs cannot be told from their numbers, and mean nothing together."""

from dataclasses import dataclass
from pathlib import Path

from vitreous.cli.run_files import LATENTS
from vitreous.errors import InputError
from vitreous.runs.manifest import Manifest, fingerprint
from vitreous.runs.store import STATE, is_run_folder


@dataclass(frozen=True)
class Owner:
    """The run of ``vitreous flex`` whose model gave latents their meaning.

    Attributes
    ----------
    folder
        Where it was when the latents were made.
    sha256
        Fingerprint of the model.
    """

    folder: Path
    sha256: str


def owner_of(path: Path) -> Owner | None:
    """Find the run of latents, given as a run's folder or as a file that a run wrote; None where nothing tells."""
    places = {LATENTS: path.parent, "latents.csv": path.absolute().parents[1]}  # the latter lies beside the maps
    folder = path if path.is_dir() else places.get(path.name)
    if folder is None or not is_run_folder(folder):
        return None
    manifest = Manifest.read(folder)
    if manifest.name == "flex":
        return Owner(folder, fingerprint(folder / STATE).sha256) if (folder / STATE).exists() else None
    states = [file for file in manifest.inputs if Path(file.path).name == STATE]
    return Owner(Path(states[0].path).parent, states[0].sha256) if states else None


def refuse_other_owner(path: Path, run: Path, flag: str) -> None:
    """Raise InputError where latents are known to be of another run of ``vitreous flex`` than ``run``, of ``flag``."""
    theirs, ours = owner_of(path), owner_of(run)
    if theirs is None or ours is None or theirs.sha256 == ours.sha256:
        return
    if theirs.folder.absolute() == ours.folder.absolute():
        raise InputError(
            f"the run of {flag} was made again after these latents, which mean nothing to it",
            remedy="Run `vitreous embed` on their particles again",
            path=path,
        )
    raise InputError(
        "the latents are of another run, and mean nothing to this one",
        expected=f"{flag} {theirs.folder}",
        found=f"{flag} {run}",
        remedy=f"Give the run that made them, or place their particles in this one with `vitreous embed --run {run}`",
        path=path,
    )
