"""The run folder: where a run leaves everything, and the only writer of results."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from vitreous.data import LatentVolume, Particles, Result
from vitreous.errors import ConfigError, InputError
from vitreous.io.access import write_refused
from vitreous.io.atomic import atomic_path
from vitreous.runs.checkpoint import Checkpointer, identity_of
from vitreous.runs.manifest import MANIFEST, Manifest
from vitreous.runs.results import movie_script, result_files, summary_of, write_below, write_points

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
STATE = "state.safetensors"
MOVIE = "movie.cxc"
WRITTEN = (
    *(
        MANIFEST,
        METRICS,
        SUMMARY,
        CHECKPOINT,
        STATE,
        "report.html",
        "particles.star",
        "latents.npz",
        "volumes",
        "classes",
    ),
    *("volume.mrc", "half1.mrc", "half2.mrc", "mask.mrc", "class_*.mrc", "fsc.csv", "fsc.xml", "conical_fsc.csv"),
    *("particles.mrcs", "truth.star", "truth.json", "latents_truth.csv", "state_*.mrc", "weights.safetensors"),
    *(MOVIE, "train.star", "unseen_particles.star", "unseen_states.star", "flexibility.mrc", "attention"),
)
"""What runs write, and so all that ``--overwrite`` removes; files that the user added stay."""

REPLACED = ".replaced"
"""Where a run started with ``--overwrite`` keeps the earlier one until it has its own result."""


class RunFolder:
    """A folder that a run writes.

    Use it as a context manager: a run that fails before it left a checkpoint or a result leaves no folder at all, and
    brings back the run that it was to replace.

    Parameters
    ----------
    path
        The folder, which exists and holds a manifest.
    is_new
        Whether this run begins here, so that the folder goes when the run fails.
    made
        The topmost folder that was made for it, if any.
    """

    def __init__(self, path: Path, *, is_new: bool = False, made: Path | None = None) -> None:
        self.path = path
        self.started = time.monotonic()
        self._is_new = is_new
        self._made = made

    @classmethod
    def create(cls, path: Path, manifest: Manifest, *, overwrite: bool = False) -> "RunFolder":
        """Make the folder and write its manifest.

        Raises
        ------
        ConfigError
            Where the path is a file, a folder that vitreous did not make, or one that it made, without ``overwrite``;
            and where overwriting would remove an input of this run or what another command left.
        ResourceError
            Where the system refuses to write.
        """
        refuse_unusable(path, overwrite=overwrite)
        replaced = [old for pattern in WRITTEN for old in path.glob(pattern)]
        _refuse_loss(path, replaced, manifest)
        made = next((p for p in [*reversed(path.parents), path] if not p.exists()), None)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_refused(path, error) from error
        folder = cls(path, is_new=True, made=made)
        try:
            _put_aside(path, replaced)
            manifest.write(path)
        except BaseException:
            folder.discard()
            raise
        return folder

    @classmethod
    def resume(cls, path: Path) -> "RunFolder":
        """Open the folder of an earlier run to go on with it.

        Raises
        ------
        InputError
            Where it is no run folder.
        """
        Manifest.read(path)
        return cls(path)

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / SUMMARY).exists()

    @property
    def checkpoint(self) -> Path:
        """Where the run's checkpoint lies or will lie."""
        return self.path / CHECKPOINT

    def log(self, numbers: Mapping[str, float | int | str | None]) -> None:
        """Append a line to ``metrics.jsonl``, with the seconds since the start."""
        seconds = round(time.monotonic() - self.started, 3)
        path = self.path / METRICS
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"seconds": seconds, **numbers}) + "\n")
        except OSError as error:
            raise write_refused(path, error) from error

    def checkpointer(self, manifest: Manifest) -> Checkpointer:
        """Return what saves and loads the state of this run, for a method or the training loop."""
        return Checkpointer(self.path / CHECKPOINT, identity_of(manifest.config, manifest.inputs))

    def write_result(self, result: Result, particles: Particles, warnings: Sequence[str] = ()) -> None:
        """Write everything that a method found, then the summary; the checkpoint is no longer needed and goes.

        Raises
        ------
        ResourceError
            Where the system refuses to write; no result is left then.
        """
        written: list[Path] = []
        try:
            for name, write in result_files(result, particles):
                written.append(self.path / name)
                write(self.path / name)
            self.write_summary(summary_of(result, len(particles), time.monotonic() - self.started, warnings))
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in written} - {self.path}:
                with suppress(OSError):  # not made yet
                    folder.rmdir()
            raise
        self.checkpoint.unlink(missing_ok=True)

    def write_maps(self, decoded: Iterable[LatentVolume]) -> None:
        """Write maps of latents as they come, then where they are and how ChimeraX plays them.

        Raises
        ------
        ResourceError
            Where the system refuses to write; no map is left then.
        """
        points = []
        try:
            for each in decoded:
                write_below(self.path / "volumes" / f"{each.name}.mrc", each.volume, each.name)
                points.append((each.name, each.z))
            write_points(self.path / "volumes" / "latents.csv", points)
            with atomic_path(self.path / MOVIE) as temporary:
                temporary.write_text(movie_script([name for name, _ in points]), encoding="utf-8")
        except BaseException:
            shutil.rmtree(self.path / "volumes", ignore_errors=True)
            raise

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``; this marks the run as finished, so it comes last, and a replaced run goes."""
        with atomic_path(self.path / SUMMARY) as temporary:
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            # what UTF-8 cannot hold (bytes of a file name) becomes the escape that JSON has for it
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        shutil.rmtree(self.path / REPLACED, ignore_errors=True)

    def discard(self) -> None:
        """Remove the traces of a run that began here and left no checkpoint and no result, new folders included.

        The run that it was to replace comes back.
        """
        results = {old.name for pattern in WRITTEN for old in self.path.glob(pattern)} - {MANIFEST, METRICS}
        if not self._is_new or results:
            return
        for name in (MANIFEST, METRICS):
            (self.path / name).unlink(missing_ok=True)
        _bring_back(self.path)
        if self._made is None:
            return
        for folder in [self.path, *self.path.parents]:
            with suppress(OSError):  # a folder that others filled in the meantime stays
                folder.rmdir()
            if folder == self._made:
                break

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()


def refuse_unusable(path: Path, *, overwrite: bool) -> None:
    """Raise ConfigError where a run must not write into a path; commands ask before they compute anything."""
    if path.is_symlink() and not path.exists():
        raise ConfigError(
            "the output is a link to a place that does not exist",
            found=path.readlink(),
            remedy="Make that folder, remove the link, or choose another -o",
            path=path,
        )
    if path.exists() and not path.is_dir():
        raise ConfigError("the output is a file", expected="a folder", remedy="Choose another -o", path=path)
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not is_run_folder(path):
        raise ConfigError(
            "the output folder holds files that vitreous did not make",
            remedy="Choose another -o, or empty the folder yourself",
            path=path,
        )
    if not overwrite and not (path / SUMMARY).exists():
        raise ConfigError(
            "the output folder holds an unfinished run",
            remedy="--resume goes on with it, --overwrite starts anew",
            path=path,
        )
    if not overwrite:
        raise ConfigError(
            "the output folder holds an earlier run",
            remedy="Choose another -o, replace it with --overwrite, or go on with --resume",
            path=path,
        )


def refuse_other_command(folder: Path, name: str) -> None:
    """Raise ConfigError where ``--resume`` names the folder of another command."""
    found = Manifest.read(folder).name
    if found != name:
        raise ConfigError(
            "--resume: this folder is that of another command",
            expected=f"vitreous {name}",
            found=f"vitreous {found}",
            remedy="Choose another -o",
            path=folder,
        )


def is_run_folder(path: Path) -> bool:
    """Tell whether vitreous made a folder."""
    try:
        Manifest.read(path)
    except InputError:
        return False
    return True


def _refuse_loss(path: Path, replaced: Sequence[Path], manifest: Manifest) -> None:
    """Raise ConfigError where replacing files would destroy what this run reads, or another command's work."""
    inputs = {os.path.realpath(file.path) for file in manifest.inputs}
    lost = [old for old in replaced if os.path.realpath(old) in inputs]
    earlier = Manifest.read(path).name if (path / MANIFEST).exists() else manifest.name
    if lost or earlier != manifest.name:
        what = f"an input, {lost[0].name}" if lost else f"a run of vitreous {earlier}"
        raise ConfigError(f"the output folder holds {what}", remedy="Choose another -o", path=path)


def _put_aside(path: Path, replaced: Sequence[Path]) -> None:
    """Move files below ``.replaced``; the manifest is copied, so that the folder is a run's at every moment."""
    if not replaced:
        return
    aside = path / REPLACED
    # what lies there was put aside by a run that was killed, which left nothing that is worth more
    is_kept = (aside / SUMMARY).exists()
    try:
        aside.mkdir(exist_ok=True)
        for old in replaced:
            if old.name == MANIFEST:
                if not is_kept:
                    shutil.copy2(old, aside / MANIFEST)
            elif is_kept:
                _remove(old)
            else:
                if (aside / old.name).is_dir():
                    _remove(aside / old.name)
                old.rename(aside / old.name)
    except OSError as error:
        raise write_refused(path, error) from error


def _bring_back(path: Path) -> None:
    """Undo :func:`_put_aside`."""
    aside = path / REPLACED
    if not aside.is_dir():
        return
    with suppress(OSError):  # what cannot be moved stays where the user can find it
        for old in aside.iterdir():
            old.rename(path / old.name)
        aside.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
