import io
import re

import pytest
from rich.console import Console

from vitreous.compute.progress import Progress, SilentProgress, TerminalProgress, make_progress


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def shown(console):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


@pytest.mark.parametrize("kind", ["silent", "terminal"])
def test_tracking_yields_every_item_once(screen, kind):
    progress: Progress = SilentProgress() if kind == "silent" else TerminalProgress(screen)
    assert list(progress.track(range(5), "counting")) == [0, 1, 2, 3, 4]
    assert list(progress.track(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    assert list(progress.track((x for x in "abc"), "unknown length")) == ["a", "b", "c"]
    progress.advance(3)  # outside a stage: nothing to count, nothing to break


def test_a_terminal_shows_what_how_far_and_the_time_left(screen):
    progress = TerminalProgress(screen)
    with progress.stage("E-step", total=40):
        progress.advance(10)
        progress._bars.refresh()
        assert "E-step" in shown(screen)
        assert "10/40" in shown(screen)
        assert re.search(r"left \S*-?:", shown(screen))
        with progress.stage("images", total=7):
            progress.advance(2)
            progress._bars.refresh()
            assert "2/7" in shown(screen)
        progress.advance(5)
        progress._bars.refresh()
        assert "15/40" in shown(screen)


def test_messages_stay_and_are_not_interpreted(screen):
    progress = TerminalProgress(screen)
    for _ in progress.track(range(2), "work"):
        progress.message("iteration [1]: 8.2 Å")
    assert shown(screen).count("iteration [1]: 8.2 Å") == 2


def test_an_error_on_the_way_frees_the_terminal(screen):
    progress = TerminalProgress(screen)

    def fail():
        for _ in progress.track(range(2), "work"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    progress = TerminalProgress(screen)
    assert list(progress.track(range(2), "again")) == [0, 1]


def test_silence_when_quiet_or_unwatched(screen):
    pipe = Console(file=io.StringIO(), force_terminal=False)
    for progress in (make_progress(quiet=True, console=screen), make_progress(console=pipe)):
        for _ in progress.track(range(3), "work"):
            progress.message("hidden")
            with progress.stage("inner", total=2):
                progress.advance()
    assert screen.file.getvalue() == pipe.file.getvalue() == ""
    assert isinstance(make_progress(console=screen), TerminalProgress)
