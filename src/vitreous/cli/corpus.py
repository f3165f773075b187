"""``vitreous corpus build``: structures to pre-train on, curated and split by sequence family."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, arg

from vitreous.cli.context import RunContext
from vitreous.cli.options import Basic
from vitreous.errors import ConfigError
from vitreous.simulate.curation import CurationConfig
from vitreous.simulate.homology import HomologyRule

if TYPE_CHECKING:
    from vitreous.simulate.corpus import Corpus
    from vitreous.simulate.tally import Tally


@dataclass(frozen=True)
class CorpusBuild:
    """Curate a folder of structures into a corpus whose splits share no homologues."""

    folder: Positional[Annotated[Path, arg(metavar="FOLDER")]]
    """PDB and mmCIF files (.gz allowed) in it and below, or an archive of Cα traces."""

    output: Annotated[Path, arg(aliases=("-o",), metavar="NPZ")]
    """The .npz file to write; what every rule took goes into a .json file of the same name."""

    exclude: tuple[Path, ...] = ()
    """Folders of structures that must have no homologue in the corpus."""

    rules: OmitArgPrefixes[CurationConfig] = field(default_factory=CurationConfig)
    """Rules on structures and chains."""

    homology: OmitArgPrefixes[HomologyRule] = field(default_factory=HomologyRule)
    """What counts as homologous."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)
    """Options of every command."""

    def run(self, context: RunContext) -> None:
        """Read, curate, split, write."""
        from vitreous.simulate.corpus_build import build_corpus

        _refuse_output(self.output, overwrite=self.common.overwrite)
        corpus, tally = build_corpus(self.folder, self.rules, self.homology, self.exclude, context.progress())
        corpus.save(self.output)
        summary = _summary(corpus, tally, context)
        _write_json(self.output.with_suffix(".json"), summary)
        if not self.common.quiet:
            parts = ", ".join(f"{n} {name}" for name, n in summary["structures"].items())
            sys.stdout.write(f"{tally.table()}\n{parts} · {self.output}\n")


def _refuse_output(path: Path, *, overwrite: bool) -> None:
    if path.suffix != ".npz":
        raise ConfigError("-o must name an .npz file", found=path, remedy="Give a name that ends in .npz")
    for file in (path, path.with_suffix(".json")):
        if file.exists() and not overwrite:
            raise ConfigError("the output exists already", remedy="Choose another -o, or give --overwrite", path=file)


def _summary(corpus: "Corpus", tally: "Tally", context: RunContext) -> dict[str, Any]:
    from vitreous import __version__
    from vitreous.simulate.corpus import SPLITS
    from vitreous.simulate.self_overlap import SYMMETRIC_FROM

    return {
        "version": __version__,
        "command": list(context.command),
        "config": context.config,
        "rules": tally.counts,
        "structures": {name: len(corpus.subset(name)) for name in SPLITS},
        "families": len(set(corpus.family.tolist())),
        "symmetric": int((corpus.self_overlap >= SYMMETRIC_FROM).sum()),
    }


def _write_json(path: Path, summary: dict[str, Any]) -> None:
    from vitreous.io.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
