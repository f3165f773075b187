"""The static report of a run, made from its folder."""

from vitreous.report.page import write_report

__all__ = ["write_report"]
