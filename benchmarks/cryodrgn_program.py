"""The cryodrgn package on stacks of vitreous, as a command in an environment of its own: files in, maps out."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import Finished, run_measured
from vitreous.data import Volume
from vitreous.io.maps import read_map
from vitreous.io.pickles import read_arrays

_EPOCH = re.compile(r"gen loss = ([-\d.e]+).* Finished in ([\d:.]+)")
_CLOCK = "%H:%M:%S.%f"


@dataclass(frozen=True)
class Epoch:
    """What a program says of an epoch of its training.

    Attributes
    ----------
    seconds
        Wall time of its steps.
    residual
        Mean squared difference from the images, over their standard deviation.
    """

    seconds: float
    residual: float


class CryodrgnProgram:
    """Calls of the package.

    Parameters
    ----------
    command
        Its command.
    threads
        Of every call.
    """

    def __init__(self, command: str, threads: int) -> None:
        self.command, self.threads = command, threads

    def version(self) -> str:
        """Return its version, ``4.3.1``."""
        return self._run("--version").output.split()[-1]

    def train_vae(self, star: Path, out: Path, options: Sequence[object]) -> Finished:
        """Train on the particles of a STAR file with poses, which lies beside its stack.

        Images and CTF have the other sign in the package, which inverts the images that it reads by default: maps of
        bright particles come out positive.
        """
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        poses, ctf = out / "poses.pkl", out / "ctf.pkl"
        self._run("parse_pose_star", star, "-o", poses)
        self._run("parse_ctf_star", star, "-o", ctf)
        files = [star, "--datadir", star.parent, "--poses", poses, "--ctf", ctf, "-o", out]
        return self._run("train_vae", *files, *options, "--no-analysis")

    def eval_vol(self, run: Path, pixel_size_A: float, z: NDArray[np.float32]) -> list[Volume]:
        """Decode maps at latents ``[n, dims]``."""
        out = run / "volumes"
        shutil.rmtree(out, ignore_errors=True)
        np.savetxt(run / "wanted.txt", z)
        model = [run / "weights.pkl", "-c", run / "config.yaml", "--zfile", run / "wanted.txt"]
        self._run("eval_vol", *model, "--Apix", pixel_size_A, "-o", out)
        return [read_map(path) for path in sorted(out.glob("vol_*.mrc"), key=_number)]

    def _run(self, *words: object) -> Finished:
        threads = {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        return run_measured([self.command, *map(str, words)], environment=threads)


def latents_of(run: Path) -> NDArray[np.float32]:
    """Read the means of the latents that a training left, in the order of its particles."""
    return read_arrays(run / "z.pkl")[0].astype(np.float32)


def epochs_of(log: str) -> list[Epoch]:
    """Read what ``run.log`` says of every epoch."""
    return [Epoch(_seconds(clock), float(residual)) for residual, clock in _EPOCH.findall(log)]


def _seconds(clock: str) -> float:
    """Seconds of ``0:01:02.5``."""
    return (datetime.strptime(clock, _CLOCK) - datetime.strptime("0:0:0.0", _CLOCK)) / timedelta(seconds=1)


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.name)[-1])
