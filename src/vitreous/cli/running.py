"""The course of every command that makes a run folder: check, estimate, compute, write, report."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitreous.cli.changes import changes
from vitreous.cli.context import RunContext
from vitreous.cli.options import Common
from vitreous.compute.device import resolve_device, use_device
from vitreous.compute.memory import MemoryBudget
from vitreous.compute.processes import Share, current_share
from vitreous.compute.threads import set_threads
from vitreous.data import Particles, Result, Volume
from vitreous.errors import ConfigError, VitreousError
from vitreous.io import ReadOptions
from vitreous.io.locations import image_locations
from vitreous.io.maps import read_map
from vitreous.io.particles import NO_CTF
from vitreous.reconstruct.known_poses import check_mask
from vitreous.runs.checkpoint import Checkpointer
from vitreous.runs.manifest import Manifest, fingerprint, fingerprint_stacks
from vitreous.runs.store import RunFolder, is_run_folder, refuse_other_command, refuse_unusable


@dataclass(frozen=True)
class Estimate:
    """What a computation will take, roughly.

    Attributes
    ----------
    memory_bytes
        Largest amount of memory at one time, of one process.
    core_seconds
        Time on one core.
    remedy
        What to do where there is less memory; to give less work to a larger machine, by default.
    """

    memory_bytes: float
    core_seconds: float
    remedy: str = ""


@dataclass(frozen=True)
class RunJournal:
    """The journal of a method that runs in a folder: metrics.jsonl and the checkpoint.

    Of several processes the first one writes; the others have no checkpoint of their own.
    """

    folder: RunFolder
    checkpoint: Checkpointer | None

    @classmethod
    def of(cls, folder: RunFolder) -> "RunJournal":
        """Journal of a folder that holds its manifest."""
        is_first = current_share().is_first
        return cls(folder, folder.checkpointer(Manifest.read(folder.path)) if is_first else None)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        if self.checkpoint is not None:
            self.folder.log(metrics)

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Replace the checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.save(tensors, values)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the checkpoint of the run that goes on, as the first process reads it."""
        return current_share().from_first(None if self.checkpoint is None else self.checkpoint.load())


def begin(context: RunContext, output: Path, common: Common, *, on_gpu: bool = False) -> bool:
    """Check the output folder and set up the machine; to be called before anything is read.

    ``on_gpu`` says that what follows can compute on the device of ``--device``; auto is the CPU.

    Returns
    -------
    bool
        False where ``--resume`` finds a finished run: there is nothing to do, which is said, and in which options that
        run differs from this call.

    Raises
    ------
    ConfigError
        Where the folder cannot be used, or ``--device``, ``--threads`` are wrong.
    ResourceError
        Where there is no such GPU.
    """
    device = resolve_device("cpu" if common.device == "auto" else common.device)
    if not on_gpu and device.type != "cpu":
        raise ConfigError(
            f"vitreous {context.name} runs on the CPU only",
            found=f"--device {common.device}",
            remedy="Leave --device out",
        )
    share = current_share()
    use_device(_own_gpu(device, share) if device.type == "cuda" else device)
    is_wanted = share.from_first(not share.is_first or _is_wanted(context, output, common))
    set_threads(common.threads)
    return is_wanted


def _own_gpu(device: torch.device, share: Share) -> torch.device:
    """Deal the GPUs of a machine to its processes, beginning with the one that was named."""
    on_machine = share.rank % share.on_machine
    return torch.device("cuda", ((device.index or 0) + on_machine) % torch.cuda.device_count())


def _is_wanted(context: RunContext, output: Path, common: Common) -> bool:
    if not (common.resume and is_run_folder(output)):
        refuse_unusable(output, overwrite=common.overwrite)
        return True
    refuse_other_command(output, context.name)
    if not RunFolder.resume(output).is_finished:
        return True
    context.say(f"{output} holds the finished run")
    earlier = Manifest.read(output)
    changed = changes(earlier, replace(earlier, config=context.config))
    if changed:
        context.say(f"that run has other options: {', '.join(changed)}; --overwrite starts again with the new ones")
    return False


def announce(context: RunContext, particles: Particles, estimate: Estimate) -> None:
    """Say what is about to be computed and what it will take.

    Raises
    ------
    ResourceError
        Where memory will not suffice.
    """
    share = current_share()
    minutes = estimate.core_seconds / torch.get_num_threads() / share.size / 60
    memory_bytes = estimate.memory_bytes * share.on_machine
    context.say(
        f"{len(particles)} particles of {particles.box} px, {particles.pixel_size_A:.4g} Å per px; this takes about "
        f"{memory_bytes / 1e9:.2g} GB of memory and {_in_words(minutes)}"
    )
    require_memory(particles, estimate)


def require_memory(particles: Particles, estimate: Estimate) -> None:
    """Raise ResourceError where the processes of this machine need more memory than it has left."""
    MemoryBudget.of_device("cpu").require(
        round(estimate.memory_bytes * current_share().on_machine),
        f"{len(particles)} particles of {particles.box} px",
        estimate.remedy or "Use a smaller --box, fewer particles or processes, or a larger machine",
    )


def read_mask(path: Path | None, particles: Particles) -> Volume | None:
    """Read the file of ``--mask``, where it was given, and check that it is a mask for these particles."""
    if path is None:
        return None
    mask = read_map(path)
    check_mask(mask, particles.box, particles.pixel_size_A)
    return mask


def read_with(options: ReadOptions) -> list[Path]:
    """List the files that are read beside the particles' own, in the order of their flags."""
    named = [*options.passthrough, options.poses, options.ctf]
    return [path for path in named if path is not None and str(path) != NO_CTF]


def open_folder(context: RunContext, output: Path, particles: Particles, inputs: Sequence[Path | None]) -> RunFolder:
    """Make the run folder with its manifest, or take up the one of ``--resume``; the first process does.

    Parameters
    ----------
    context
        The call.
    output
        The folder.
    particles
        What is read; its notes become warnings.
    inputs
        Other files that are read, None for those that were not given.

    Raises
    ------
    ConfigError
        Where the folder cannot be used, or belongs to a run with other options or inputs.
    """
    if not current_share().is_first:
        return RunFolder(output)
    for note in particles.notes:
        context.warn(note)
    locations = image_locations(particles.source)
    stacks = fingerprint_stacks(locations.files) if locations is not None else []
    manifest = Manifest(
        name=context.name,
        command=context.command,
        config=context.config,
        seed=_seed(context.config),
        inputs=(*[fingerprint(path) for path in inputs if path is not None], *stacks),
        notes=tuple(particles.notes),
    )
    if getattr(context.common, "resume", False) and is_run_folder(output):
        changed = changes(Manifest.read(output), manifest)
        if changed:
            raise ConfigError(
                f"--resume goes on with the run of {output}, and this call differs from it in {', '.join(changed)}",
                remedy="Use the same options and inputs, or start anew with --overwrite",
            )
        folder = RunFolder.resume(output)
        context.say("from the last checkpoint" if folder.checkpoint.exists() else "no checkpoint yet: from the start")
    else:
        folder = RunFolder.create(output, manifest, overwrite=context.common.overwrite)
    folder.started = context.started
    return folder


@contextmanager
def resumable(context: RunContext, folder: RunFolder) -> Iterator[None]:
    """Say how to go on where a run that has a checkpoint is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        if current_share().is_first and folder.checkpoint.exists():
            context.say("stopped; --resume goes on")
        raise


def finish(context: RunContext, folder: RunFolder, result: Result, particles: Particles) -> None:
    """Judge the views, write the result and its report, and say on stdout what came out; the first process does."""
    if not current_share().is_first:
        return
    result = _with_orientations(context, result, particles)
    for warning in result.warnings:
        context.warn(warning)
    folder.write_result(result, particles, context.warnings)
    report = write_report_of(context, folder.path)
    found = [result.verdict] if result.verdict != "done" else []
    found += [f"resolution {result.resolution_A:.2f} Å"] if result.resolution_A is not None else []
    found += _independence(result)
    found += [f"point group {result.symmetry}"] if result.symmetry not in (None, "C1") else []
    found += [f"{time.monotonic() - context.started:.0f} s", str(report)]
    sys.stdout.write(" · ".join(found) + "\n")


def _independence(result: Result) -> list[str]:
    """Say from where on the half-maps are independent, where they are not altogether."""
    shared_A = result.metrics.get("independent_beyond_A")
    if shared_A is None:
        return ["halves not independent"] if result.metrics.get("independent_halves") == 0 else []
    if result.resolution_A is not None and result.resolution_A > shared_A - 0.005:
        return [f"halves independent only beyond {shared_A:.0f} Å, which they do not reach"]
    return [f"halves independent beyond {shared_A:.0f} Å"]


def _with_orientations(context: RunContext, result: Result, particles: Particles) -> Result:
    from vitreous.analysis.anisotropy import with_orientations

    try:
        return with_orientations(
            result, particles.poses if result.poses is None else result.poses, result.symmetry or "C1"
        )
    except Exception as error:  # noqa: BLE001  nothing in a diagnosis is worth more than the results
        context.warn(f"the resolution by direction could not be computed ({type(error).__name__}: {error})")
    return result


def write_report_of(context: RunContext, folder: Path) -> Path:
    """Write the report of a finished run and return its path; where that fails, warn and return the folder."""
    from vitreous.report import write_report

    try:
        return write_report(folder)
    except Exception as error:  # noqa: BLE001  nothing in a report is worth more than the results
        why = str(error) if isinstance(error, VitreousError) else f"{type(error).__name__}: {error}"
        context.warn(f"the report could not be written; the results are complete ({why})")
    return folder


def _seed(config: Mapping[str, Any]) -> int | None:
    groups = [config, *(group for group in config.values() if isinstance(group, Mapping))]
    return next((group["seed"] for group in groups if isinstance(group.get("seed"), int)), None)


def _in_words(minutes: float) -> str:
    if minutes < 1.5:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
