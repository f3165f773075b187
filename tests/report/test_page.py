"""The whole page: offline, escaped, complete, and only as long as the folder is."""

import json
import re
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from tests.report.conftest import write_example
from vitreous.errors import InputError, ResourceError
from vitreous.report import page, write_report
from vitreous.runs.manifest import Manifest

ALL_SECTIONS = ["map", "resolution", "orientations", "particles", "variability", "progress", "settings", "files"]


class Page(HTMLParser):
    """Elements, attributes, text and embedded JSON of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.words, self.data, self._in = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = dict(attrs).get("type", tag) if tag in {"script", "style"} else ""

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "application/json":
            self.data.append(json.loads(data))
        elif not self._in:
            self.words.append(data)

    @property
    def sections(self):
        return [attrs["id"] for tag, attrs in self.elements if tag == "section"]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return write_report(write_example(tmp_path_factory.mktemp("page") / "run")).read_text(encoding="utf-8")


def test_full_run_has_every_section_and_the_numbers_of_the_summary(html):
    shown = Page(html)
    assert shown.sections == ALL_SECTIONS
    for words in (
        "Solved",
        "5.83",
        "point group D2",
        "3 min 05",
        "1.5",
        "The hand is undetermined.",
        "vitreous abinitio p.star",
    ):
        assert words in shown.text
    assert "class 2" in shown.text
    assert shown.text.index("class 2") < shown.text.index("class 10")


def test_nothing_is_loaded_from_outside(html):
    own = html.replace(get_plotlyjs(), "")
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|\bfetch\(|XMLHttpRequest", own)
    for tag, attrs in Page(html).elements:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert attrs.get("src", "data:").startswith("data:")
        assert attrs.get("href", "./").startswith("./")


def test_policy_forbids_the_browser_every_request(html):
    policies = [a["content"] for tag, a in Page(html).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    rules = dict(rule.strip().split(" ", 1) for rule in policies[0].split(";"))
    assert rules["default-src"] == "'none'"
    assert set(" ".join(rules.values()).split()) <= {"'none'", "'unsafe-inline'", "data:", "blob:"}


def test_plotly_is_there_once_and_the_page_stays_small(html):
    assert html.count(get_plotlyjs()) == 1
    assert len(html.encode()) < len(get_plotlyjs().encode()) + 3_000_000


def test_words_from_files_cannot_become_markup(example_run):
    evil = "</script><img src=x onerror=alert(1)>'\"&"
    Manifest(evil, ["vitreous", evil], {evil: {"inner": [evil]}}, notes=[evil]).write(example_run)
    summary = json.loads((example_run / "summary.json").read_text())
    (example_run / "summary.json").write_text(json.dumps(summary | {"warnings": [evil], "verdict": evil, evil: evil}))
    (example_run / "metrics.jsonl").write_text("\n".join(json.dumps({evil: i}) for i in range(3)))
    (example_run / "a<b>'&\".txt").write_text("")
    folder = example_run.rename(example_run.with_name("run <i>$title & co"))
    html = write_report(folder).read_text(encoding="utf-8")
    shown = Page(html)
    assert evil not in html
    assert not any("onerror" in attrs for _, attrs in shown.elements)
    assert "<b>'" not in html
    assert evil in "".join(shown.words)
    assert "run <i>$title & co" in "".join(shown.words)
    assert ("a", {"href": "./a%3Cb%3E%27%26%22.txt"}) in shown.elements


@pytest.mark.parametrize(
    ("file", "section"),
    [
        ("volume.mrc", "map"),
        ("fsc.csv", "resolution"),
        ("metrics.jsonl", "progress"),
    ],
)
def test_section_without_its_file_is_left_out(example_run, file, section):
    (example_run / file).unlink()
    shown = Page(write_report(example_run).read_text(encoding="utf-8"))
    assert shown.sections == [name for name in ALL_SECTIONS if name != section]


def test_orientations_are_shown_as_far_as_they_are_known(example_run):
    titles = ["Sampling of Fourier space", "Resolution by direction", "FSC by direction"]
    assert all(title in Page(write_report(example_run).read_text(encoding="utf-8")).text for title in titles)
    (example_run / "conical_fsc.csv").unlink()
    shown = Page(write_report(example_run).read_text(encoding="utf-8"))
    assert shown.sections == ALL_SECTIONS
    assert "Viewing directions" in shown.text
    assert not any(title in shown.text for title in titles)
    (example_run / "particles.star").unlink()
    shown = Page(write_report(example_run).read_text(encoding="utf-8"))
    assert shown.sections == [name for name in ALL_SECTIONS if name not in {"orientations", "particles"}]


def test_run_that_has_only_begun_says_so_and_needs_no_plotly(manifest_only):
    html = write_report(manifest_only).read_text(encoding="utf-8")
    assert Page(html).sections == ["settings", "files"]
    assert "Not finished" in html
    assert get_plotlyjs() not in html


def test_embedded_figures_are_json_with_the_data_of_the_folder(html):
    figures = [data for data in Page(html).data if isinstance(data, dict) and "ways" not in data]
    assert len(figures) > 5
    assert all({"data", "layout"} <= figure.keys() for figure in figures)
    fsc = next(figure for figure in figures if any(trace.get("name") == "masked" for trace in figure["data"]))
    assert fsc["data"][0]["y"][:3] == [1.0, 0.9375, 0.875]


def test_failed_writing_keeps_the_earlier_report(example_run, monkeypatch):
    before = write_report(example_run).read_bytes()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page.Path, "write_text", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write_report(example_run)
    monkeypatch.undo()
    assert (example_run / "report.html").read_bytes() == before
    assert not list(example_run.glob(".report*"))


@pytest.mark.parametrize(
    "name", ["summary.json", "fsc.csv", "conical_fsc.csv", "particles.star", "volume.mrc", "latents.npz"]
)
def test_damaged_file_is_named(example_run, name):
    (example_run / name).write_text("{ no")
    with pytest.raises(InputError, match=name):
        write_report(example_run)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="Name"):
        write_report(tmp_path / "absent")
    with pytest.raises(InputError, match=r"manifest\.yaml"):
        write_report(tmp_path)
