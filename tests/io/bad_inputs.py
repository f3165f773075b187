"""Malformed particle files, one builder each: it writes into a folder and returns the STACK argument."""

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from tests.io.samples import (
    BOX,
    N,
    cs_rows,
    images,
    optics,
    particles,
    star_text,
    write_cs_file,
    write_images,
    write_star,
)

Builder = Callable[[Path], Path]
OptionBuilder = Callable[[Path], tuple[Path, dict[str, Path]]]


def star(optics_changes: dict[str, Any] | None = None, **changes: Any) -> Builder:
    """Build a STAR file whose columns differ from a good one."""
    return lambda folder: write_star(folder / "p.star", particles(**changes), optics(**(optics_changes or {})))


def star_without(label: str, table: str = "particles") -> Builder:
    def build(folder: Path) -> Path:
        tables = {"optics": optics(), "particles": particles()}
        tables[table].pop(label)
        return write_star(folder / "p.star", tables["particles"], tables["optics"])

    return build


def star_with_text(change: Callable[[str], str]) -> Builder:
    def build(folder: Path) -> Path:
        path = write_star(folder / "p.star")
        path.write_text(change(path.read_text(encoding="utf-8")))
        return path

    return build


def star_with_stack(data: np.ndarray) -> Builder:
    def build(folder: Path) -> Path:
        write_images(folder / "particles.mrcs", data)
        return write_star(folder / "p.star", particles(), optics(rlnImageSize=[data.shape[-1]]))

    return build


def star_with_bytes(change: Callable[[bytes], bytes]) -> Builder:
    def build(folder: Path) -> Path:
        path = write_star(folder / "p.star")
        stack = folder / "particles.mrcs"
        stack.write_bytes(change(stack.read_bytes()))
        return path

    return build


def cs(**changes: Any) -> Builder:
    return lambda folder: write_cs_file(folder / "p.cs", cs_rows(**changes))


def file(name: str, content: bytes) -> Builder:
    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


def spoiled(value: Any, kind: type = float) -> list[Any]:
    """A column of which the third value is bad."""
    return [kind(1), kind(2), value, kind(1)]


def missing_stack(folder: Path) -> Path:
    path = write_star(folder / "p.star")
    (folder / "particles.mrcs").unlink()
    return path


def mixed_boxes(folder: Path) -> Path:
    write_images(folder / "other.mrcs", images(box=BOX + 2))
    names = ["1@particles.mrcs", "2@particles.mrcs", "1@other.mrcs", "2@other.mrcs"]
    return write_star(folder / "p.star", particles(rlnImageName=names))


def two_groups(label: str, first: Any, second: Any) -> Builder:
    changes = {"rlnOpticsGroup": [1, 2], "rlnOpticsGroupName": ["a", "b"], label: [first, second]}

    def build(folder: Path) -> Path:
        table = {name: values * 2 if len(values) == 1 else values for name, values in optics(**changes).items()}
        return write_star(folder / "p.star", particles(rlnOpticsGroup=[1, 1, 2, 2]), table)

    return build


def duplicated_groups(folder: Path) -> Path:
    table = {name: values * 2 for name, values in optics().items()}
    return write_star(folder / "p.star", particles(), table)


def pickled_cs(folder: Path) -> Path:
    with (folder / "p.cs").open("wb") as out:
        np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return folder / "p.cs"


def truncated_cs(folder: Path) -> Path:
    path = write_cs_file(folder / "p.cs")
    path.write_bytes(path.read_bytes()[:-50])
    return path


def bare_stack(folder: Path) -> Path:
    return write_images(folder / "bare.mrcs")


def a_map(folder: Path) -> Path:
    with mrcfile.new(folder / "map.mrc") as mrc:
        mrc.set_data(images(BOX))
    return folder / "map.mrc"


def with_header(position: int, value: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:position] + value.to_bytes(4, "little", signed=True) + raw[position + 4 :]


def with_nan() -> np.ndarray:
    data = images()
    data[2, 3, 4] = np.nan
    return data


def a_folder(folder: Path) -> Path:
    (folder / "p.star").mkdir()
    return folder / "p.star"


TABLE: list[tuple[str, Builder, str]] = [
    ("truncated stack", star_with_bytes(lambda raw: raw[:-100]), "truncated"),
    ("stack with unreadable header", star_with_bytes(lambda raw: b"\x07" * len(raw)), "not an MRC file"),
    ("stack shorter than a header", star_with_bytes(lambda raw: raw[:500]), "too short"),
    ("empty stack", star_with_bytes(lambda raw: b""), "too short"),
    ("complex stack", star_with_bytes(with_header(12, 4)), "complex"),
    ("gzipped stack under its old name", star_with_bytes(gzip.compress), "gunzip"),
    ("missing image file", missing_stack, r"1 of 1 image files not found.*--datadir"),
    ("slice beyond the stack", star(rlnImageName=[f"{i}@particles.mrcs" for i in (1, 2, 9, 3)]), "9@particles.mrcs"),
    ("slice zero", star(rlnImageName=[f"{i}@particles.mrcs" for i in (0, 1, 2, 3)]), "row 1"),
    ("image name without number", star(rlnImageName=["a@particles.mrcs", *["1@particles.mrcs"] * 3]), "index"),
    ("NaN image", star_with_stack(with_nan()), "3@particles.mrcs: .*NaN"),
    ("constant image", star_with_stack(np.ones((N, BOX, BOX), np.float32)), "constant"),
    ("images that are not square", star_with_stack(np.zeros((N, BOX, BOX + 2), np.float32)), "square|box size"),
    ("wrong box in the table", star({"rlnImageSize": [BOX * 2]}), "box size"),
    ("mixed boxes in the stacks", mixed_boxes, "differ in box size"),
    ("mixed boxes in the table", two_groups("rlnImageSize", BOX, 2 * BOX), "differ in box size"),
    ("mixed pixel sizes", two_groups("rlnImagePixelSize", 1.0, 2.0), "differ in pixel size"),
    ("duplicate ids", star(rlnImageName=["2@particles.mrcs"] * 2 + ["3@particles.mrcs", "4@particles.mrcs"]), "2@part"),
    (
        "duplicate ids in disguise",
        star(rlnImageName=["000002@./particles.mrcs", *[f"{i}@particles.mrcs" for i in (2, 3, 4)]]),
        "more than once",
    ),
    (
        "duplicate ids with idle slashes",
        star(rlnImageName=["2@.//particles.mrcs", *[f"{i}@particles.mrcs" for i in (2, 3, 4)]]),
        "more than once",
    ),
    ("unknown optics group", star(rlnOpticsGroup=[1, 1, 7, 1]), "3@particles.mrcs: the optics group"),
    ("optics group defined twice", duplicated_groups, "optics group 1 is defined twice"),
    ("optics table without rows", star_with_text(lambda t: t.replace("1 opticsGroup1 ", "# ")), "no optics groups"),
    ("zero pixel size", star({"rlnImagePixelSize": [0.0]}), "pixel size"),
    ("negative pixel size", star({"rlnImagePixelSize": [-1.2]}), "pixel size"),
    ("NaN pixel size", star({"rlnImagePixelSize": ["nan"]}), "rlnImagePixelSize is not a finite number"),
    ("no pixel size", star_without("rlnImagePixelSize", "optics"), "--pixel-size"),
    ("text for a defocus", star(rlnDefocusU=spoiled("unknown")), "3@particles.mrcs: rlnDefocusU"),
    ("infinite defocus", star(rlnDefocusU=spoiled("inf")), "3@particles.mrcs: rlnDefocusU"),
    ("defocus of a metre", star(rlnDefocusV=spoiled(1e10)), "defocus_v_A"),
    ("defocus in micrometres", star(rlnDefocusU=[1.5] * N, rlnDefocusV=[1.4] * N), "µm"),
    ("voltage in volts", star({"rlnVoltage": [300000.0]}), "voltage_kV"),
    ("amplitude contrast in percent", star({"rlnAmplitudeContrast": [7.0]}), "amplitude"),
    ("no defocus", star_without("rlnDefocusU"), "--ctf"),
    ("no defocus angle", star_without("rlnDefocusAngle"), "rlnDefocusAngle"),
    ("no voltage", star_without("rlnVoltage", "optics"), "rlnVoltage"),
    ("beam tilt", star({"rlnBeamTiltX": [0.3], "rlnBeamTiltY": [0.0]}), "beam tilt .*set rlnBeamTiltX to 0"),
    ("anisotropic magnification", star({"rlnMagMat00": [1.01]}), "anisotropic magnification"),
    ("odd aberrations", star({"rlnOddZernike": ["[0.1,0,0]"]}), "aberration"),
    ("some images premultiplied", two_groups("rlnCtfDataAreCtfPremultiplied", 0, 1), "multiplied by their CTF"),
    ("sub-tomograms", star({"rlnImageDimensionality": [3]}), "sub-tomograms"),
    ("half-set 3", star(rlnRandomSubset=spoiled(3, int)), "3@particles.mrcs: rlnRandomSubset"),
    ("NaN angle", star(rlnAngleTilt=spoiled("nan")), "3@particles.mrcs: rlnAngleTilt"),
    ("huge angle", star(rlnAnglePsi=spoiled(2e4)), "3@particles.mrcs: rlnAnglePsi"),
    ("origin outside the box", star(rlnOriginXAngst=spoiled(41.0)), "3@particles.mrcs: the shift .* the box, 40 Å"),
    ("huge B-factor", star(rlnCtfBfactor=spoiled(-2e4)), "3@particles.mrcs: bfactor_A2"),
    ("phase shift beyond a turn", star(rlnPhaseShift=spoiled(400.0)), "3@particles.mrcs: phase_shift_deg"),
    ("row with a field too few", star_with_text(lambda t: t.replace(" mic2.mrc", "")), "line 33: a row .*11"),
    ("row with a field too many", star_with_text(lambda t: t.replace("mic2.mrc", "mic 2.mrc")), "line 33: a row .*13"),
    ("row without its name", star_with_text(lambda t: t.replace("000003@particles.mrcs ", "")), "line 33: a row .*11"),
    ("comment in a row", star_with_text(lambda t: t.replace("mic2.mrc", "#2 mic2.mrc")), "line 33: .*1 before #"),
    ("column twice", star_with_text(lambda t: t.replace("_rlnDefocusV", "_rlnDefocusU")), "rlnDefocusU occurs twice"),
    ("particle table twice", star_with_text(lambda t: t + t), "occurs twice"),
    ("particle table without rows", star_with_text(lambda t: t[: t.index("000001@")]), "no rows"),
    ("STAR of micrographs", star_with_text(lambda t: t.replace("_rlnImageName", "_rlnMovieName")), "no particle table"),
    ("STAR without tables", file("p.star", b"hello world\n"), "no data block"),
    ("empty STAR", file("p.star", b""), "empty"),
    ("STAR of spaces", file("p.star", b" \n\n"), "empty"),
    ("binary STAR", file("p.star", bytes(range(256)) * 20), "not a text file"),
    ("gzipped STAR", file("p.star.gz", gzip.compress(star_text({"particles": particles()}).encode())), "gunzip"),
    ("gzipped STAR under its old name", file("p.star", gzip.compress(b"data_\n")), "gunzip"),
    ("gzipped cs", file("p.cs.gz", gzip.compress(b"x")), "gunzip"),
    ("gzipped bare stack", file("p.mrcs.gz", gzip.compress(b"x")), "gunzip"),
    ("missing file", lambda folder: folder / "absent.star", "not found"),
    ("a folder", a_folder, "folder"),
    ("unknown suffix", file("p.hdf", b"x"), "unknown kind"),
    ("no suffix", file("particles", b"x"), "unknown kind"),
    ("bare stack without CTF", bare_stack, "--ctf"),
    ("a map for a stack", a_map, "map"),
    ("pickled cs", pickled_cs, "pickled"),
    ("truncated cs", truncated_cs, "complete|Copy"),
    ("text for a cs", file("p.cs", b"hello"), "not a cryoSPARC"),
    ("compressed cs", file("p.cs", b"\x94CSDAT" + bytes(64)), "compressed"),
    ("cs without blob", cs(**{"blob/path": None}), "--passthrough"),
    ("cs without particles", lambda folder: write_cs_file(folder / "p.cs", cs_rows()[:0]), "no particles"),
    ("cs with beam tilt", cs(**{"ctf/tilt_A": np.full((N, 2), 0.1, "<f4")}), "beam tilt"),
    ("cs with mixed pixel sizes", cs(**{"blob/psize_A": np.array([1, 1, 2, 1], "<f4")}), "3@J1.*psize_A"),
    ("cs with oblong images", cs(**{"blob/shape": np.array([[16, 16]] * 3 + [[16, 18]], "<u4")}), "square"),
    ("cs with mixed signs", cs(**{"blob/sign": np.array([1, 1, -1, 1], "<f4")}), "blob/sign"),
    ("cs with NaN poses", cs(**{"alignments3D/pose": np.full((N, 3), np.nan, "<f4")}), "not finite"),
    ("cs with split 2", cs(**{"alignments3D/split": np.array([0, 1, 2, 0], "<u4")}), "split"),
]
"""What is wrong, how to make it, and what the message has to say (a regular expression)."""

CASES: list[tuple[str, Builder]] = [(name, build) for name, build, _ in TABLE]


class RunsOnLoading:
    """What a pickle can do to whoever trusts it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("owned"),))


def with_option(option: str, name: str, write: Callable[[Path], object]) -> OptionBuilder:
    def build(folder: Path) -> tuple[Path, dict[str, Path]]:
        stack = write_star(folder / "p.star")
        write(folder / name)
        return stack, {option: folder / name}

    return build


def pickled(value: Any) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(pickle.dumps(value))


def cs_with_passthrough(**changes: Any) -> OptionBuilder:
    def build(folder: Path) -> tuple[Path, dict[str, Path]]:
        stack = write_cs_file(folder / "p.cs")
        return stack, {"passthrough": write_cs_file(folder / "through.cs", cs_rows(**changes))}

    return build


def rotations(n: int) -> np.ndarray:
    return np.broadcast_to(np.eye(3), (n, 3, 3)).copy()


def poses_of(matrices: np.ndarray, translation: float = 0.0) -> OptionBuilder:
    return with_option("poses", "p.pkl", pickled((matrices, np.full((len(matrices), 2), translation))))


def write_star_without_poses(path: Path) -> Path:
    return write_star(path, {label: column for label, column in particles().items() if "rlnAngle" not in label})


OPTION_TABLE: list[tuple[str, OptionBuilder, str]] = [
    ("poses with code", with_option("poses", "p.pkl", pickled(RunsOnLoading())), "more than numbers"),
    ("CTF with code", with_option("ctf", "c.pkl", pickled([RunsOnLoading()])), "more than numbers"),
    ("poses that are no pickle", with_option("poses", "p.pkl", lambda p: p.write_bytes(b"hello")), "pickle"),
    ("poses of other length", poses_of(rotations(9)), "found 9"),
    ("poses of objects", with_option("poses", "p.pkl", pickled(np.array([None, 1]))), "numeric arrays"),
    (
        "poses that are not rotations",
        poses_of(2 * rotations(N)),
        "not a rot",
    ),
    ("mirrored poses", poses_of(-rotations(N)), "not a rotation"),
    (
        "translations in pixels",
        poses_of(rotations(N), 3.0),
        "fractions",
    ),
    ("CTF of other shape", with_option("ctf", "c.pkl", pickled(np.ones((N, 7)))), "n x 9"),
    ("CTF of other length", with_option("ctf", "c.pkl", pickled(np.ones((N + 1, 9)))), "found 5"),
    (
        "CTF file of unknown kind",
        with_option("ctf", "c.txt", lambda p: p.write_text("x", encoding="utf-8")),
        "unknown kind",
    ),
    (
        "CTF table without columns",
        with_option("ctf", "c.csv", lambda p: p.write_text("a,b\n1,2\n", encoding="utf-8")),
        "voltage_kV",
    ),
    (
        "poses for other particles",
        with_option("poses", "o.star", lambda p: write_star(p, particles(2))),
        "2 of 4 particles of p.star are not in this file: 3@particles.mrcs, 4@particles.mrcs",
    ),
    (
        "poses file without poses",
        with_option(
            "poses",
            "o.star",
            lambda p: write_star(p, {k: v for k, v in particles().items() if "Angle" not in k or "Def" in k}),
        ),
        "no poses",
    ),
    ("passthrough of another job", cs_with_passthrough(uid=np.arange(N, dtype="<u8")), "4 of 4 particles"),
    ("passthrough with duplicates", cs_with_passthrough(uid=np.full(N, 100, "<u8")), "more than once"),
    ("passthrough for a STAR", with_option("passthrough", "t.cs", lambda p: write_cs_file(p)), "--passthrough"),
]
"""The same for files given beside the stack, by option."""
