"""Tables of methods for motions, and of poses that are refined with them."""

import statistics
from collections.abc import Callable
from itertools import product

from benchmarks.markdown import NO_FIGURE, Records, figures, grouped, settings, table
from benchmarks.rows import is_measured
from vitreous.cli.studies import STUDIES
from vitreous.evaluate.records import BenchmarkRecord

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

FLEXIBILITY_COLUMNS = {
    "flexibility_inside": "flexibility inside",
    "attention_inside": "best query inside",
    "first_inside": "first query inside",
    "inside_by_chance": "by chance",
    "rigid_over_flexible": "rigid / flexible",
    "moving_share": "moving share",
    "rigid_moving_share": "of the rigid",
}


def motions_table(records: Records) -> str:
    """Means over seeds, and the standard deviation where there are several."""
    header = [
        "recipe",
        "method",
        "SNR",
        "images",
        "box px",
        "precision",
        "seeds",
        *MOTION_COLUMNS.values(),
        "processor s of training",
    ]
    rows = []
    for same in grouped(records, "seed", "verdict"):
        done = [record for record in same if is_measured(record)]
        known = [*settings(same[0], "recipe", "method", "SNR", "n", "box", "precision"), str(len(done))]
        columns = [[r.quality[name] for r in done if name in r.quality] for name in [*MOTION_COLUMNS, "cpu_seconds"]]
        rows.append([*known, *(_mean(values, 3) for values in columns[:-1]), _mean(columns[-1], 0)])
    return (
        "Circular correlation of the hinge's angle with that of the nearest training particles, and the mean area under"
        " the FSC of decoded with true maps (at most 0.5); ± is the standard deviation over seeds. The"
        " decoder of the rows *told* gets the true angle, or nothing, in place of latents.\n\n"
        + table(header, rows)
        + "\n![Quality against the processor time of training, 10,000 images of the antibody at 32 px, SNR 0.1]"
        "(figures/motions.png)\n" + _missing(records)
    )


def embedding_table(records: Records) -> str:
    """Speed of the forward pass and of the whole command."""
    header = ["method", "images", "box px", "threads", "images/s", "with start and writing", "MB", "largest difference"]
    rows = [
        [
            *settings(record, "method", "n", "box", "threads"),
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


def flexibility_table(records: Records) -> str:
    """One row per seed."""
    names = ("n", "snr", "box", "dims", "seed")
    header = ["images", "SNR", "box px", "dims", "seed", *FLEXIBILITY_COLUMNS.values(), "processor s"]
    done = [record for record in records if is_measured(record)]
    rows = [[*settings(r, *names), *figures(r, FLEXIBILITY_COLUMNS), f"{r.quality['cpu_seconds']:.0f}"] for r in done]
    return (
        "`vitreous flex --method cryoformer` on the phantom whose arm turns by 60°, and on the rigid phantom in the"
        " same poses. A voxel is one of the particle where one of the 25 true maps exceeds a tenth of the highest"
        " value of all, and *inside* where the same holds for the density of the arm alone. Of the voxels of the"
        " particle at which a map is highest, a twentieth of them all, the columns give the share that is inside: for"
        " `flexibility.mrc`, for the attention map of the query of which most is inside, for that of the first query,"
        " which is chosen without the truth, and for voxels drawn at random. *Rigid / flexible* is the maximum of the"
        " rigid run's flexibility map over that of the other's;"
        " the moving share is that of `summary.json`; times are of the training on the moving phantom.\n\n"
        + table(header, rows)
        + _options(done)
        + _missing(records)
    )


ABLATION_COLUMNS = {
    "train.circular_correlation": "angle: training",
    "unseen.circular_correlation": "new particles",
    "train.fsc_auc_mean": "FSC-AUC: training",
    "unseen.fsc_auc_mean": "new particles",
    "unseen.kl_known_new": "KLD training, new particles",
}


def ablation_table(records: Records) -> str:
    """Means over seeds, one row per setting."""
    rows = []
    for same in grouped(records, "seed", "verdict"):
        study = STUDIES[same[0].settings["table"]]
        row = same[0].settings["row"]
        columns = [_mean([record.quality[name] for record in same], 3) for name in ABLATION_COLUMNS]
        words = " ".join(study.rows[row])
        rows.append([row, f"`{words}`" if words else NO_FIGURE, str(len(same)), *columns])
    table_name = records[0].settings["table"]
    shared = " ".join(STUDIES[table_name].options)
    return (
        f"`vitreous benchmark {table_name}`: the phantom's hinge, trained on four fifths of the particles, with"
        f" `{shared}` and what the row names. Angle: circular correlation with that of the nearest training particles;"
        " FSC-AUC: mean area under the FSC of decoded with true maps (at most 0.5); ± is the standard deviation over"
        " seeds.\n\n" + table(["row", "options", "seeds", *ABLATION_COLUMNS.values()], rows)
    )


PARITY_COLUMNS = {
    "fsc_auc_mean": ("FSC-AUC", 3),
    "circular_correlation": ("angle", 3),
    "residual": ("residual", 4),
    "seconds_per_epoch": ("s per epoch", 1),
    "cpu_seconds": ("processor s", 0),
}


def parity_table(records: Records) -> str:
    """Means over seeds, and how they compare with those of the package under the same conditions."""
    names = ("recipe", "snr", "n", "box", "width", "layers", "dims", "batch", "epochs", "threads")
    header = ["program", "recipe", "SNR", "images", "box px", *names[4:], "seeds"]
    header += [title for title, _ in PARITY_COLUMNS.values()]
    rows = []
    for same in grouped([record for record in records if is_measured(record)], "seed", "verdict"):
        values = [_mean([r.quality[name] for r in same], digits) for name, (_, digits) in PARITY_COLUMNS.items()]
        memory = _mean([r.peak_memory_MB for r in same], 0)
        known = [*settings(same[0], "program", *names), str(len(same))]
        rows.append([*known, *values, memory, *_beside_the_package(same, records)])
    return (
        "The autoencoder of CryoDRGN, trained with the same settings on the same stacks with true poses. FSC-AUC is the"
        " mean area under the FSC of decoded with true maps (at most 0.5), of one training image of each state; the"
        " residual is the mean square of the last epoch's. Seconds per epoch are those of each program's own log, the"
        " median; processor time and memory are those of the whole command. Differences and ratios are means over"
        " the seeds that both have; ± is the standard deviation over seeds.\n\n"
        + table([*header, "MB", "FSC-AUC less theirs", "time / theirs", "MB / theirs"], rows)
        + _missing(records)
    )


def _beside_the_package(same: Records, records: Records) -> list[str]:
    """Differences of quality, and ratios of time and memory, to the package's rows under the same conditions."""
    package = [record for record in records if is_measured(record) and _is_of_the_package(record)]
    pairs = [(mine, theirs) for mine, theirs in product(same, package) if _conditions(mine) == _conditions(theirs)]
    if not pairs or _is_of_the_package(same[0]):
        return [NO_FIGURE] * 3
    areas = [mine.quality["fsc_auc_mean"] - theirs.quality["fsc_auc_mean"] for mine, theirs in pairs]
    times = [mine.quality["seconds_per_epoch"] / theirs.quality["seconds_per_epoch"] for mine, theirs in pairs]
    return [_mean(areas, 3), _mean(times, 2), _mean([m.peak_memory_MB / t.peak_memory_MB for m, t in pairs], 2)]


def _is_of_the_package(record: BenchmarkRecord) -> bool:
    return record.settings["program"].startswith("cryodrgn")


def _conditions(record: BenchmarkRecord) -> dict[str, object]:
    return {name: value for name, value in record.settings.items() if name not in ("program", "verdict")}


ROUGH_COLUMNS = {
    "start_median_deg": "median error at the start °",
    "unaligned_median_deg": "at the end °",
    "median_deg": "aligned °",
    "within_10_deg": "within 10°",
    "shift_mean_px": "shift error px",
}


def rough_poses_table(records: Records) -> str:
    """One row per run."""
    names = ("method", "n", "snr", "box", "seed", "verdict")
    done = [record for record in records if is_measured(record)]
    rows = [[*settings(r, *names), *figures(r, ROUGH_COLUMNS), f"{r.quality['cpu_seconds']:.0f}"] for r in done]
    turns = dict.fromkeys(f"{r.settings['low_deg']:g}° to {r.settings['high_deg']:g}°" for r in done)
    header = ["method", "images", "SNR", "box px", "seed", "verdict", *ROUGH_COLUMNS.values(), "processor s"]
    return (
        f"True poses of the rigid phantom turned about random axes by {' or '.join(turns)}, as the start of"
        " `vitreous flex --method cryoformer --cryoformer.poses encoder`, of `vitreous refine` and of"
        " `vitreous abinitio --poses`. The first two errors are those in the frame of"
        " the simulation, which is that of the start on average; the others are those after the best global rotation,"
        " shift and hand, which are found by as many poses as agree within 41° and mean nothing where few do.\n\n"
        + table(header, rows)
        + _options([record for record in done if record.settings["options"]])
        + _missing(records)
    )


AMORTISED_TITLES = {
    "maps": "What holds the map, and the loss",
    "parts": "What each part does",
    "trap": "The symmetric trap",
    "particles": "The number of particles",
}
AMORTISED_COLUMNS = {
    "explained": "explained",
    "median_deg": "median error, °",
    "squared_fnorm_median": "median squared F-norm",
    "resolution_A": "resolution, Å",
    "mirror_correlation": "correlation with its mirror image",
    "cpu_seconds": "processor s of training",
    "cpu_seconds_to_10_deg": "to 10°",
    "cpu_seconds_to_5_deg": "to 5°",
}


def amortised_table(records: Records) -> str:
    """One row per run, in one table for every question."""
    done = [record for record in records if is_measured(record)]
    header = ["what differs", "images", "box px", "SNR", "seed", "end", *AMORTISED_COLUMNS.values(), "peak MB"]
    text = (
        "Training of `vitreous abinitio --method cryoai` alone on one core, compared with the truth after every 250"
        " steps: encoder at 16 px, batches of 64, otherwise the defaults but for what the first column says. Poses are"
        " those of one forward pass, with no descent after it; the resolution is that of the network's own map, at FSC"
        " 0.5 with the truth. Processor time leaves the comparisons out.\n"
    )
    for name, title in AMORTISED_TITLES.items():
        rows = [
            [
                r.settings["settings"] or "–",
                *settings(r, "n", "box", "snr", "seed", "verdict"),
                *figures(r, AMORTISED_COLUMNS),
                f"{r.quality['resident_MB']:.0f}",
            ]
            for r in done
            if r.settings["table"] == name
        ]
        text += f"\n{title}:\n\n{table(header, rows)}" if rows else ""
    return text + _missing(records)


def _options(records: Records) -> str:
    """Options of the runs, which are the same in all rows as a rule."""
    found = dict.fromkeys(f"`{record.settings['options']}`" for record in records)
    return f"\nOptions: {'; '.join(found)}.\n" if found else ""


def _missing(records: Records) -> str:
    missing = sum(not is_measured(record) for record in records)
    return f"\nPlanned and not run: {missing}.\n" if missing else ""


def _mean(values: list[float], digits: int) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


MOTION_TABLES: dict[str, tuple[str, Callable[[Records], str]]] = {
    "motions": ("Motions of particles that training never saw", motions_table),
    "parity": ("The same autoencoder by the cryodrgn package", parity_table),
    "embedding": ("Latents of new particles: speed", embedding_table),
    "flexibility": ("Maps of what moves, beside what does", flexibility_table),
    "cryoformer-ablation": ("What each part of CryoFormer does", ablation_table),
    "cryonoo-ablation": ("What each part of CryoNOO does for new particles", ablation_table),
    "amortised": ("An encoder of poses that learns with the map", amortised_table),
    "rough-poses": ("Poses from a rough start", rough_poses_table),
}
"""Title and table of every result file."""
