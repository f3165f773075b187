"""Tables of methods for motions: means over seeds, one row per method."""

import statistics

from benchmarks.markdown import Records, grouped, table
from benchmarks.rows import is_measured

MOTION_COLUMNS = {
    "train.circular_correlation": "angle: training",
    "unseen_particles.circular_correlation": "new particles",
    "unseen_states.circular_correlation": "new states",
    "train.fsc_auc_mean": "FSC-AUC: training",
    "unseen_particles.fsc_auc_mean": "new particles",
    "unseen_states.fsc_auc_mean": "new states",
    "unseen_particles.kl_known_new": "KLD training, new particles",
    "unseen_particles.kl_known_new_within_known": "KLD within training",
}

COSTS = ("method", "n", "box", "threads")


def motions_table(records: Records) -> str:
    """Means over seeds, and the standard deviation where there are several."""
    header = ["method", "SNR", "images", "box px", "seeds", *MOTION_COLUMNS.values(), "processor s of training"]
    rows, missing = [], sum(not is_measured(record) for record in records)
    for same in grouped(records, "seed", "verdict"):
        done = [record for record in same if is_measured(record)]
        first = same[0].settings
        known = [first["method"], str(first["SNR"]), f"{first['n']:,}", str(first["box"]), str(len(done))]
        columns = [[r.quality[name] for r in done if name in r.quality] for name in [*MOTION_COLUMNS, "cpu_seconds"]]
        rows.append([*known, *(_mean(values, 3) for values in columns[:-1]), _mean(columns[-1], 0)])
    note = f"\nPlanned and not run: {missing}.\n" if missing else ""
    return (
        "Circular correlation of the hinge's angle with that of the nearest training particles, and the mean area under"
        " the FSC of decoded with true maps (at most 0.5); ± is the standard deviation over seeds.\n\n"
        + table(header, rows)
        + "\n![Quality against the processor time of training, SNR 0.1](figures/motions.png)\n"
        + note
    )


def embedding_table(records: Records) -> str:
    """Speed of the forward pass and of the whole command."""
    header = ["method", "images", "box px", "threads", "images/s", "with start and writing", "MB", "largest difference"]
    rows = [
        [
            *(f"{record.settings[name]:,}" if name != "method" else record.settings[name] for name in COSTS),
            f"{record.quality['images_per_second']:,.0f}",
            f"{record.quality['command_images_per_second']:,.0f}",
            f"{record.peak_memory_MB:.0f}",
            f"{record.quality['largest_difference']:.1g}",
        ]
        for record in records
        if is_measured(record)
    ]
    return (
        "`vitreous embed` of particles that training never saw; last, the largest difference between a latent from"
        " `embed` and that of the same particle at the end of training.\n\n" + table(header, rows)
    )


def _mean(values: list[float], digits: int) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"
