"""Keep the records of ``vitreous benchmark cryoformer-ablation`` and ``cryonoo-ablation`` among the results.

    vitreous benchmark cryoformer-ablation -o DIR --seeds 1 --threads 1
    python -m benchmarks.ablations cryoformer-ablation DIR [DIR ...]

Writes ``results/NAME.json`` anew from the records of the runs, in the order of the tables' rows.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.rows import RESULTS
from vitreous.cli.studies import STUDIES
from vitreous.evaluate.records import BenchmarkRecord
from vitreous.io.atomic import atomic_path


def collected(name: str, folders: Sequence[Path]) -> list[BenchmarkRecord]:
    """Read the records of runs of one table; their name becomes the table's.

    Raises
    ------
    ValueError
        If a folder has no records, or one of another table.
    """
    records = []
    for folder in folders:
        files = sorted(folder.glob(f"records/{name}-*.json"))
        if not files:
            message = f"{folder} has no records of {name}: give the folder that vitreous benchmark {name} -o wrote"
            raise ValueError(message)
        found = [BenchmarkRecord(**json.loads(path.read_text())) for path in files]
        records += [replace(record, name=name, settings={"table": name, **record.settings}) for record in found]
    order = list(STUDIES[name].rows)
    return sorted(records, key=lambda record: (order.index(record.settings["row"]), record.settings["seed"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    records = collected(given.name, given.folders)
    with atomic_path(given.results / f"{given.name}.json") as part:
        part.write_text(json.dumps([asdict(record) for record in records], indent=1) + "\n")


if __name__ == "__main__":
    main()
