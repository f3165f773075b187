"""Finding image files: metadata files name them relative to a folder that they do not state."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from vitreous.errors import InputError
from vitreous.io.listing import plain_stack_name

_NAMES_SHOWN = 3


def resolve_stacks(stacks: Sequence[str], metadata: Path, datadir: Path | None) -> list[Path]:
    """Find the file of each stack name.

    A relative name is looked for in the folder of the metadata file, then in each folder above it. ``datadir`` comes
    first where it is given: the name below it, then the name without its first folder, and so on down to the bare
    file name (which also serves absolute names that moved).

    Raises
    ------
    InputError
        Where files are missing (with the number of them, the first few, and where they were looked for), or where
        two names of one metadata file lead to the same file, also by way of links.
    """
    folder = metadata.absolute().parent
    roots = [folder, *folder.parents]
    found: list[Path] = []
    missing: list[str] = []
    is_folder = cache(os.path.isdir)
    for name in stacks:
        plain = plain_stack_name(name)
        hit = next((path for path in _candidates(plain, roots, datadir, is_folder) if path.is_file()), None)
        if hit is None:
            missing.append(name)
        else:
            found.append(hit)
    if missing:
        _refuse_missing(missing, stacks, folder, datadir, metadata)
    _refuse_shared_files(stacks, found, metadata)
    return found


def find_stack(name: str, folder: Path) -> Path | None:
    """Find the file that ``name`` leads to from a metadata file in ``folder``; None where there is none."""
    folder = folder.absolute()
    candidates = _candidates(plain_stack_name(name), [folder, *folder.parents], None)
    return next((path for path in candidates if path.is_file()), None)


def _candidates(
    name: str, roots: Sequence[Path], datadir: Path | None, is_folder: Callable[[Path], bool] = os.path.isdir
) -> Iterator[Path]:
    """Yield the places of a file; ``is_folder`` may remember, as most stacks share their few folders."""
    parts = Path(name).parts
    if datadir is not None:
        yield from (
            datadir.absolute().joinpath(*parts[start:]) for start in range(Path(name).is_absolute(), len(parts))
        )
    if Path(name).is_absolute():
        yield Path(name)
    else:
        parent = Path(name).parent
        yield from (root / name for root in roots if is_folder(root / parent))


def _refuse_missing(
    missing: Sequence[str], stacks: Sequence[str], folder: Path, datadir: Path | None, metadata: Path
) -> None:
    shown = ", ".join(missing[:_NAMES_SHOWN]) + (", …" if len(missing) > _NAMES_SHOWN else "")
    looked = f"looked in {folder} and the folders above it" + ("" if datadir is None else f", and in {datadir}")
    raise InputError(
        f"{len(missing)} of {len(stacks)} image files not found: {shown} ({looked})",
        remedy="Give the folder that holds them with --datadir",
        path=metadata,
    )


def _refuse_shared_files(stacks: Sequence[str], found: Sequence[Path], metadata: Path) -> None:
    first_name: dict[str, str] = {}
    for name, path in zip(stacks, found):
        other = first_name.setdefault(os.path.realpath(path), name)
        if plain_stack_name(other) != plain_stack_name(name):
            raise InputError(
                f"two stacks lead to the same file {path}: {other} and {name}",
                remedy="Use one name in all rows, or, if these are two files, give a --datadir that keeps them apart",
                path=metadata,
            )
