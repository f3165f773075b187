"""What differs between a run and the call that is to go on with it, in the words of the command line."""

from collections.abc import Collection

from vitreous.runs.checkpoint import changed_options
from vitreous.runs.manifest import Manifest

_UNNAMED_GROUPS = frozenset(
    {
        *("common", "reading", "search", "refinement", "classification", "reconstruction", "description"),
        *("step", "train", "real"),
    }
)
"""Groups of options whose flags do not carry the group's name."""

_POSITIONAL = frozenset({"stack", "structure"})
"""Files that no flag names."""

_OTHER_NAMES = {"run_folder": "run"}
"""Flags that are not called as the option is."""


def changes(earlier: Manifest, now: Manifest, free: Collection[str] = ()) -> list[str]:
    """Name the options, and the files by their content, that differ: ``--batch-views (64, now 128)``.

    Options that one of the two does not know, the output folder, the device, the numbers of threads and processes, and
    options or groups of ``free`` (by their place in YAML) are left out. A file is the same wherever it lies.
    """
    before, after = ({file.path: file.sha256 for file in manifest.inputs} for manifest in (earlier, now))
    changed = changed_options(earlier.config, now.config, free)
    named = [_flag(name, *v) for name, v in changed.items() if before.get(str(v[0]), "") != after.get(str(v[1]))]
    other = [path for path, digest in after.items() if digest not in before.values()]
    if set(before.values()) != set(after.values()):
        named.append(f"what is in {', '.join(other) or 'the files that are read'}")
    return named


def _flag(name: str, before: object, now: object) -> str:
    group, _, short = name.partition(".")
    named = short if group in _UNNAMED_GROUPS else _OTHER_NAMES.get(name, name)
    flag = name.upper() if name in _POSITIONAL else f"--{named.replace('_', '-')}"
    plain = all(value is None or isinstance(value, int | float | str) for value in (before, now))
    return f"{flag} ({before}, now {now})" if plain else flag
