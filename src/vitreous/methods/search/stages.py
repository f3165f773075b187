"""Results of finished stages, kept in the journal so that a stopped run goes on where it was."""

from collections.abc import Callable, Mapping

from torch import Tensor

from vitreous.compute.processes import current_share
from vitreous.data import Journal


class Stages:
    """Named sets of tensors, saved as they are finished and taken from the journal when they are there already.

    Every stage is deterministic, so a resumed run ends as an unbroken one would. Of several processes, the first one's
    tensors count.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        saved = journal.load()
        self._tensors: dict[str, Tensor] = {} if saved is None else saved[0]

    def get(self, name: str) -> dict[str, Tensor] | None:
        """Tensors of a stage, or None if it was not finished."""
        prefix = f"{name}."
        found = {key.removeprefix(prefix): value for key, value in self._tensors.items() if key.startswith(prefix)}
        return found or None

    def keep(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Save a stage, in place of what it held."""
        kept = {key: value for key, value in self._tensors.items() if not key.startswith(f"{name}.")}
        self._tensors = kept | {f"{name}.{key}": value.detach().contiguous() for key, value in tensors.items()}
        self._journal.save(self._tensors, {"stages": sorted({key.split(".")[0] for key in self._tensors})})

    def once(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors of a stage, computed and saved if they are not there yet."""
        found = self.get(name)
        if found is not None:
            return found
        made = current_share().from_first(dict(compute()))
        self.keep(name, made)
        return made
