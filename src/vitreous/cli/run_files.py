"""Files of runs that commands are given by their folder, and what to do where a run did not leave them."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from vitreous.errors import InputError
from vitreous.runs.manifest import Manifest
from vitreous.runs.store import STATE, SUMMARY, is_run_folder

LATENTS, PARTICLES, VOLUME = "latents.npz", "particles.star", "volume.mrc"

_LEFT_BY = {
    LATENTS: ("flex", "embed"),
    PARTICLES: ("abinitio", "refine", "classify", "flex", "embed"),
    STATE: ("flex",),
    VOLUME: ("abinitio", "refine", "reconstruct"),
}
"""Commands that leave a file where they come to their end."""

_INSTEAD = {VOLUME: ("class_*.mrc", "volumes/*.mrc", "state_*.mrc")}
"""What other commands leave in the place of a file."""


def file_of(path: Path, name: str) -> Path:
    """Return the file ``name`` of the folder of a run; a path that is no folder is the file itself.

    Raises
    ------
    InputError
        Where a folder does not hold the file: it is no run, one that has not ended, one of another command, or a copy
        that is not whole.
    """
    if not path.is_dir():
        return path
    if not (path / name).exists():
        raise missing(path, name)
    return path / name


def without_poses(stack: Path, remedy: str) -> InputError:
    """Return the error to raise where particles have no poses; those of a simulation have true ones beside them."""
    truth = stack.parent / "truth.star"
    if truth.exists() and truth != stack:
        remedy += f"; the simulation's true poses are in {truth}"
    return InputError("the particles have no poses", remedy=remedy, path=stack)


def missing(folder: Path, name: str) -> InputError:
    """Return the error to raise where a folder does not hold a file: how to come by it."""
    wanted = f"Name the output folder of vitreous {_either(_LEFT_BY[name])}"
    if not is_run_folder(folder):
        return InputError(f"no run of vitreous: there is no {name}", remedy=f"{wanted}, or a file", path=folder)
    manifest = Manifest.read(folder)
    if not (folder / SUMMARY).exists():
        return InputError(
            f"this run of vitreous {manifest.name} has not ended: there is no {name} yet",
            remedy=f"Finish it with `{_again(manifest)}`",
            path=folder,
        )
    if manifest.name in _LEFT_BY[name]:
        return InputError(
            f"this run of vitreous {manifest.name} lacks its {name}: the copy is not whole",
            remedy=f"Copy the folder again with all that is in it, or run `{_anew(manifest)}`",
            path=folder,
        )
    others = sorted(other for pattern in _INSTEAD.get(name, ()) for other in folder.glob(pattern))
    instead = f", or a file such as {others[0]}" if others else ""
    return InputError(f"a run of vitreous {manifest.name} leaves no {name}", remedy=f"{wanted}{instead}", path=folder)


def _again(manifest: Manifest) -> str:
    """Return the command line that goes on with a run, or that begins it again where its command cannot go on."""
    computes = bool(manifest.config.get("common"))  # those that have --device and so on have --resume
    return shlex.join([*_words(manifest), "--resume"]) if computes else _anew(manifest)


def _anew(manifest: Manifest) -> str:
    """Return the command line that begins a run again."""
    return shlex.join([*_words(manifest), "--overwrite"])


def _words(manifest: Manifest) -> list[str]:
    return [word for word in manifest.command if word not in ("--resume", "--overwrite")]


def _either(names: Sequence[str]) -> str:
    """Return names as a choice: ``a, b or c``."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
