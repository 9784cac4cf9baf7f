"""The files of a report."""

from pathlib import Path

from tf_advseg import textfile
from tf_advseg.errors import InputError
from tf_advseg.report import html, markdown
from tf_advseg.report.content import Report

HTML_FILE, MARKDOWN_FILE = "report.html", "report.md"


def write(report: Report, folder: Path) -> Path:
    """Writes report.md and report.html into a folder that exists; returns the path of the latter.

    Raises:
      InputError: a file cannot be written.
    """
    texts = {MARKDOWN_FILE: markdown.text(report, HTML_FILE), HTML_FILE: html.page(report)}
    for name, text in texts.items():
        try:
            textfile.write(folder / name, text)
        except OSError as error:
            raise InputError(f"cannot write {folder / name}: {error.strerror}") from None
    return folder / HTML_FILE
