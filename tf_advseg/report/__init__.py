"""The report of an evaluation: report.html, one file to look at, and report.md, its numbers."""
