"""Records of tables that compare settings become a result file and a table."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from benchmarks.ablations import collected
from benchmarks.tables import section

from vitreous.evaluate.records import BenchmarkRecord

NAME = "cryoformer-ablation"


def _write(folder: Path, row: str, seed: int, angle: float) -> None:
    figures = ("train.circular_correlation", "unseen.circular_correlation", "train.fsc_auc_mean")
    quality = dict.fromkeys((*figures, "unseen.fsc_auc_mean", "unseen.kl_known_new"), angle)
    settings = {"row": row, "seed": seed, "verdict": "done", "threads": 1}
    machine = {"processor": "a", "cores": 2, "gpu": None, "memory_GB": 24, "python": "3.11", "torch": "2"}
    record = BenchmarkRecord(f"{NAME}-{row.replace(' ', '-')}-seed-{seed}", 1.0, 2.0, quality, settings, "c", machine)
    folder.joinpath("records").mkdir(parents=True, exist_ok=True)
    folder.joinpath("records", f"{record.name}.json").write_text(json.dumps(asdict(record)))


def test_rows_stand_in_the_order_of_the_study_with_means_over_seeds(tmp_path: Path) -> None:
    _write(tmp_path / "a", "no transformer", 1, 0.5)
    _write(tmp_path / "a", "default", 1, 0.9)
    _write(tmp_path / "b", "default", 2, 0.7)
    records = collected(NAME, [tmp_path / "a", tmp_path / "b"])
    assert [(r.settings["row"], r.settings["seed"]) for r in records] == [
        ("default", 1),
        ("default", 2),
        ("no transformer", 1),
    ]
    text = section(NAME, records)
    assert "| default | – | 2 | 0.800 ± 0.141 |" in text
    assert "| no transformer | `--cryoformer.decoder mlp` | 1 | 0.500 |" in text


def test_a_folder_of_another_table_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "default", 1, 0.9)
    with pytest.raises(ValueError, match="no records of cryonoo-ablation"):
        collected("cryonoo-ablation", [tmp_path])
