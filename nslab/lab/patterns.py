"""What names and words in Kubernetes objects look like."""

from __future__ import annotations

from nslab.lab.shapes import LABEL, Number, Text

POD_NAME = Text(LABEL.pattern, LABEL.what, 253)
PORT_NAME = Text("[a-z0-9-]*[a-z][a-z0-9-]*", "lower case letters (one at least), digits and '-'", 15)
QUALIFIED = Text(
    "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
    "[PREFIX/]NAME of letters, digits, '-', '_' and '.'",
    317,
)
LABEL_VALUE = Text("([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", "letters, digits, '-', '_' and '.'", 63)
VARIABLE = Text("[ -<>-~]+", "printable ASCII characters other than '='")
DIRECTORY = Text("/.*", "an absolute path")
UID = Text("[0-9A-Za-z]([-0-9A-Za-z]*[0-9A-Za-z])?", "letters, digits and '-'", 63)
INT32 = Number(-(2**31), 2**31 - 1)
"""A number that the API server judges, not the reader: its sentence says what is wrong."""
COUNT = Number(0, 2**31 - 1)


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())
