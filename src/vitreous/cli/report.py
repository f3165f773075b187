"""``vitreous report``: write the report of a run again."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from vitreous.cli.context import RunContext
from vitreous.cli.options import Basic


@dataclass(frozen=True)
class Report:
    """Write report.html into the folder of a run: one file that shows what was found and needs no network."""

    folder: Positional[Path]
    """The output folder of a run."""

    common: OmitArgPrefixes[Basic] = field(default_factory=Basic)

    def run(self, context: RunContext) -> None:
        """Read the folder and write the report."""
        from vitreous.report import write_report

        path = write_report(self.folder)
        if not context.common.quiet:
            sys.stdout.write(f"{path}\n")
