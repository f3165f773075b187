"""``vitreous report``."""

from vitreous.cli.context import RunContext
from vitreous.cli.parsing import parse
from vitreous.cli.report import Report


def test_command_writes_the_report_and_says_where(manifest_only, capsys):
    words = [str(manifest_only)]
    command = parse(Report, words, "report")
    command.run(RunContext.start("report", words, command))
    assert capsys.readouterr().out == f"{manifest_only / 'report.html'}\n"
    assert (manifest_only / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
