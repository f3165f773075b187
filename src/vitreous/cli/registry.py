"""Every command by name; a command's module is imported only when the command is called."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from vitreous.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """Where a command lives and what it does.

    Attributes
    ----------
    module, class_name
        A frozen dataclass with a method ``run(context)``.
    help
        One line, without a full stop.
    shares
        Whether several processes can share its work.
    """

    module: str
    class_name: str
    help: str
    shares: bool = False

    def load(self) -> type[Any]:
        """Import the command's class."""
        return getattr(import_module(self.module), self.class_name)


COMMANDS: dict[str, Entry] = {
    "simulate": Entry("vitreous.cli.simulate", "Simulate", "particles with truth, from a structure or a phantom"),
    "abinitio": Entry(
        "vitreous.cli.abinitio", "AbInitio", "find a map and all poses, from nothing or from a start", shares=True
    ),
    "refine": Entry(
        "vitreous.cli.refine", "Refine", "better poses and a better map, from a map or from poses", shares=True
    ),
    "classify": Entry("vitreous.cli.classify", "Classify", "several maps from a mixture", shares=True),
    "reconstruct": Entry(
        "vitreous.cli.reconstruct", "Reconstruct", "a map and half-maps from known poses", shares=True
    ),
    "flex": Entry("vitreous.cli.flex", "Flex", "motions: latents of particles with known poses, and maps along them"),
    "embed": Entry("vitreous.cli.embed", "Embed", "latents of new particles from a run of flex, without training"),
    "decode": Entry("vitreous.cli.decode", "Decode", "maps at any latents of a run of flex, and movies along them"),
    "report": Entry("vitreous.cli.report", "Report", "write the report of a run again"),
    "evaluate poses": Entry("vitreous.cli.evaluate", "EvaluatePoses", "compare poses with the true ones"),
    "evaluate map": Entry("vitreous.cli.evaluate", "EvaluateMap", "compare a map with the true one"),
    "evaluate latents": Entry(
        "vitreous.cli.evaluate_latents",
        "EvaluateLatents",
        "judge latents by a truth, by those of training, by another run",
    ),
    "select": Entry("vitreous.cli.select", "Select", "write some of the particles as a STAR file"),
    "corpus build": Entry("vitreous.cli.corpus", "CorpusBuild", "structures to pre-train on, split by sequence family"),
    "pretrain": Entry("vitreous.cli.pretrain", "Pretrain", "train the pose network on simulated views"),
    "benchmark": Entry("vitreous.cli.benchmark", "Benchmark", "simulated particles to maps or latents, scored"),
}
"""Commands in the order of ``vitreous --help``; a name of two words is a command of a group."""


def find(words: list[str]) -> tuple[str, list[str]]:
    """Split a command line into a command's name and its arguments.

    Raises
    ------
    ConfigError
        When no command has that name; the message proposes the nearest ones.
    """
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return name, words[length:]
    group = {name for name in COMMANDS if name.startswith(f"{words[0]} ")}
    asked = " ".join(words[:2]) if group else words[0]
    raise ConfigError(
        f"there is no command {asked!r}", remedy=did_you_mean(asked, group or COMMANDS, "Run vitreous --help")
    )


def did_you_mean(asked: str, known: Iterable[str], otherwise: str) -> str:
    """Return ``Did you mean …?`` for the known words nearest to what was asked, or a general remedy."""
    near = get_close_matches(asked, list(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else otherwise


def overview(group: str = "") -> str:
    """Return the table of commands, of one group or all."""
    chosen = {name: entry for name, entry in COMMANDS.items() if name.startswith(f"{group} ") or not group}
    width = max(map(len, chosen), default=0)
    lines = [f"  {name:<{width}}  {entry.help}" for name, entry in chosen.items()]
    usage = f"usage: vitreous {f'{group} ' if group else ''}COMMAND …"
    return "\n".join([usage, "", *lines, "", "vitreous COMMAND --help lists the options of a command.", ""])
