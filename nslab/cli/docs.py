"""`nslab docs`: list the documents in nslab's folder `docs`, or show one in the terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from nslab.cli.arguments import Output
from nslab.cli.output import Format, document, listing, markdown
from nslab.errors import UsageError

FOLDER = Path(__file__).parents[1] / "docs"


def topics(incomplete: str = "") -> list[str]:
    """The names of the documents, in alphabetical order."""
    return sorted(file.stem for file in FOLDER.glob("*.md") if file.stem.startswith(incomplete))


def docs(
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", autocompletion=topics)] = None,
    output: Output = Format.TABLE,
) -> None:
    """Print one of nslab's documents, or list them all.

    Example: nslab docs services
    """
    if topic is None:
        listing([{"topic": name, "about": about(text(name))} for name in topics()], output)
    elif topic in topics():
        whole = text(topic)
        if output is Format.TABLE:
            markdown(whole)
        else:
            document({"topic": topic, "about": about(whole), "text": whole}, output)
    else:
        from nslab.api.words import did_you_mean, shown

        advice = did_you_mean(topic, topics()) or "; `nslab docs` lists what there is"
        raise UsageError(f"there is no document {shown(topic)}{advice}")


def text(topic: str) -> str:
    """The Markdown of a document."""
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")


def about(document: str) -> str:
    """The subject of a document: the first sentence below its heading."""
    return re.split(r"\.\s", " ".join(document.split("\n\n")[1].split()) + " ")[0]
