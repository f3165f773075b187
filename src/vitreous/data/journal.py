"""Where a method writes down how it goes and what it would need to go on; it never writes a file itself."""

from collections.abc import Mapping
from typing import Any, Protocol, final, runtime_checkable

from torch import Tensor


@runtime_checkable
class Journal(Protocol):
    """What a method receives to log its metrics and to survive being stopped."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Write down one line of metrics."""
        ...

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Replace the saved state; whole or not at all."""
        ...

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the state that an earlier run with the same options and inputs saved, if there is one."""
        ...


@final
class SilentJournal:
    """A journal that keeps nothing: for libraries and tests."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Write nothing."""

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return None."""
        return None
