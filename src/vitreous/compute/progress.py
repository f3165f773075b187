"""Progress that a method reports and a terminal shows."""

from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar, final, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars

T = TypeVar("T")


@runtime_checkable
class Progress(Protocol):
    """What a method receives to tell how far it is."""

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Yield the items and advance by one after each; ``total`` where ``items`` has no length."""
        ...

    def stage(self, what: str, total: int | None = None) -> AbstractContextManager[None]:
        """Show a bar for the block, which calls :meth:`advance`; stages may be nested."""
        ...

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps of the innermost stage."""
        ...

    def message(self, text: str) -> None:
        """Say something that stays on the screen."""
        ...


@final
class SilentProgress:
    """Progress that nobody watches: for libraries, tests and ``--quiet``."""

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Yield the items."""
        del what, total
        yield from items

    @contextmanager
    def stage(self, what: str, total: int | None = None) -> Iterator[None]:
        """Run the block."""
        del what, total
        yield

    def advance(self, n: int = 1) -> None:
        """Count nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""


@final
class TerminalProgress:
    """Bars with the count, the time taken and the time left, which vanish when their stage ends."""

    def __init__(self, console: Console) -> None:
        self._bars = RichBars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._console = console
        self._stages: list[TaskID] = []

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Yield the items and advance by one after each."""
        length = len(items) if total is None and isinstance(items, Sized) else total
        with self.stage(what, length):
            for item in items:
                yield item
                self.advance()

    @contextmanager
    def stage(self, what: str, total: int | None = None) -> Iterator[None]:
        """Show a bar for the block."""
        if not self._stages:
            self._bars.start()
        task = self._bars.add_task(what, total=total)
        self._stages.append(task)
        try:
            yield
        finally:
            self._stages.remove(task)
            self._bars.remove_task(task)
            if not self._stages:
                self._bars.stop()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps of the innermost stage; nothing outside one."""
        if self._stages:
            self._bars.advance(self._stages[-1], n)

    def message(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False)


def make_progress(*, quiet: bool = False, console: Console | None = None) -> Progress:
    """Return bars on standard error, or silence where the user wants it or nobody watches a terminal."""
    shown = console or Console(stderr=True)
    return SilentProgress() if quiet or not shown.is_terminal else TerminalProgress(shown)
