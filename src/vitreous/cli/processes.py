"""One command in several processes: those that torchrun or srun started, or those of ``--processes``.

Every process runs the whole command (:mod:`vitreous.compute.processes` says who does what). The first one alone writes
and speaks. Where one fails, the others notice at the next sum and end as well.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from vitreous.cli.failures import run_guarded
from vitreous.cli.registry import COMMANDS
from vitreous.errors import ConfigError, ResourceError

LONGEST_SILENCE = timedelta(hours=2)
"""Between two sums; a machine that vanished without closing its connections is given up then."""

SECOND_VOICE_SECONDS, LOST_SECONDS = 3.0, 6.0
"""How long other processes than the first wait before they say what ended them, and how long one waits that only lost
another: whoever started the processes ends them in the meantime, so that an error is said once."""

TERMINATED = 128 + signal.SIGTERM


def needed(name: str, asked: int) -> bool:
    """Tell whether a command is to run in several processes, by its options or because so many were started.

    Raises
    ------
    ConfigError
        Where the command cannot, or where its options contradict the launcher.
    """
    started = _started_by_launcher()
    if max(started, asked) == 1:
        return False
    if not COMMANDS[name].shares:
        raise ConfigError(
            f"vitreous {name} runs in one process",
            found=max(started, asked),
            remedy="Leave --processes out" if asked > 1 else "Start it without torchrun or srun",
        )
    if started > 1 and asked not in (1, started):
        raise ConfigError(
            "--processes contradicts torchrun or srun",
            expected=started,
            found=asked,
            remedy="Leave --processes out: all processes that were started take part",
        )
    return True


def run_shared(name: str, words: Sequence[str], asked: int) -> None:
    """Run a command as one of the processes that a launcher started, or start them here and wait."""
    started = _started_by_launcher()
    if started > 1:
        _told_once(lambda: _take_part(name, words, _local_size(started), started))
        return
    from lightning_fabric.plugins.environments.lightning import find_free_network_port
    from torch.multiprocessing.spawn import ProcessExitedException, start_processes

    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    try:
        start_processes(_process, (asked, find_free_network_port(), name, tuple(words)), asked, start_method="spawn")
    except ProcessExitedException as ended:
        if ended.signal_name is None and ended.exit_code != TERMINATED:
            raise SystemExit(ended.exit_code) from None  # that process has said why
        raise ResourceError(
            "a process of this run was killed",
            found=ended.signal_name or "SIGTERM",
            remedy="If memory ran out, use fewer --processes; start again with --resume",
        ) from None


def _process(rank: int, size: int, port: int, name: str, words: Sequence[str]) -> None:
    """Run a command in a process that was started for it."""
    signal.signal(signal.SIGTERM, _leave)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank), NODE_RANK="0")
    code = run_guarded(lambda: _told_once(lambda: _take_part(name, words, size, size)), debug="--debug" in words)
    if code:
        sys.stderr.flush()
        os._exit(code)  # at once: the others end because this one has


def _leave(number: int, frame: object) -> None:
    """End as after an error, so that a folder without results is removed."""
    del number, frame
    raise SystemExit(TERMINATED)


def _take_part(name: str, words: Sequence[str], local: int, size: int) -> None:
    """Run a command as one of ``size`` processes, ``local`` on this machine; silently, but for the first one."""
    from torch import distributed

    from vitreous.cli.context import RunContext
    from vitreous.cli.main import read_command
    from vitreous.compute.processes import current_share
    from vitreous.compute.threads import usable_cores

    command = read_command(name, list(words))
    _join(local, size // local)
    share = current_share()
    # srun binds every process to cores of its own
    sharing = 1 if _is_srun() else share.on_machine
    common = replace(
        command.common,
        threads=max(1, (command.common.threads or usable_cores()) // sharing),
        quiet=command.common.quiet or not share.is_first,
    )
    context = RunContext.start(name, words, command)
    replace(command, common=common).run(replace(context, common=common))
    distributed.destroy_process_group()


def _told_once(action: Callable[[], None]) -> None:
    """Do something; where it fails, wait as long as it takes that of several processes only one says why."""
    from vitreous.compute.processes import current_share

    try:
        action()
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None  # all processes are interrupted, and the one above them says it
    except Exception as error:
        if _lost_another(error):
            time.sleep(LOST_SECONDS)
            raise ResourceError(
                "another process of this run has ended",
                remedy="See what it said; if nothing, it was killed: start again with --resume",
            ) from error
        if not current_share().is_first:
            time.sleep(SECOND_VOICE_SECONDS)
        raise


def _lost_another(error: Exception) -> bool:
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _join(local: int, machines: int) -> None:
    """Connect with the other processes, so many on each machine; Fabric finds them as their launcher left word."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it repeats the options that it is given
    os.environ["LOCAL_WORLD_SIZE"] = str(local)  # as torchrun does: compute.processes reads it
    # within a SLURM allocation, Fabric would take processes of our own for srun's
    environment = LightningEnvironment() if _started_by_launcher() == 1 else None
    strategy = DDPStrategy(timeout=LONGEST_SILENCE)
    Fabric(accelerator="cpu", devices=local, num_nodes=machines, strategy=strategy, plugins=environment).launch()


def _started_by_launcher() -> int:
    """Return how many processes torchrun or srun started for this run; 1 where there is no launcher."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_STEP_NUM_TASKS"]) if _is_srun() else 1


def _is_srun() -> bool:
    # a batch script itself has most of SLURM's variables too, but not those of a step
    return "TORCHELASTIC_RUN_ID" not in os.environ and "SLURM_STEP_NUM_TASKS" in os.environ


def _local_size(started: int) -> int:
    if not _is_srun():
        return int(os.environ["LOCAL_WORLD_SIZE"])
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ConfigError(
            "srun does not say how many processes each machine has",
            remedy="Give --ntasks-per-node to srun or sbatch, in place of --ntasks",
        )
    return min(started, int(os.environ["SLURM_NTASKS_PER_NODE"]))
