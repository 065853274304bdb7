"""The colours of the picture and of the page around it, light and dark."""

from __future__ import annotations

import re

COLOURS = {
    "ground": ("#ffffff", "#0d1117"),
    "text": ("#1b1f24", "#e6edf3"),
    "faint": ("#57606a", "#9ea7b3"),
    "edge": ("#6e7781", "#8b949e"),
    "node": ("#f6f8fa", "#161b22"),
    "pod": ("#ddf4ff", "#0c2d4a"),
    "pod-edge": ("#0969da", "#58a6ff"),
    "chip": ("#ffffff", "#21262d"),
    "router": ("#fff8c5", "#3a2f0b"),
    "router-edge": ("#9a6700", "#d29922"),
    "overlay": ("#fbefff", "#2f1d52"),
    "overlay-edge": ("#8250df", "#bc8cff"),
    "wire": ("#dafbe1", "#0f3320"),
    "wire-edge": ("#1a7f37", "#3fb950"),
    "bad": ("#cf222e", "#ff7b72"),
    "packet": ("#bc4c00", "#ffa657"),
    "accent": ("#0550ae", "#79c0ff"),
}
"""Each with its name as a CSS variable, for light and for dark."""


def variables() -> str:
    """The variables for a page: as the system is, or as its element html says by `data-theme`."""
    light, dark = ("".join(f"--{name}:{pair[which]};" for name, pair in COLOURS.items()) for which in (0, 1))
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def filled(style: str) -> str:
    """A style sheet without variables, which not every viewer of SVG knows: light, and dark where the system is."""
    return f"{_with(style, 0)}@media (prefers-color-scheme: dark) {{\n{_with(style, 1)}}}\n"


def _with(style: str, which: int) -> str:
    return re.sub(r"var\(--([a-z-]+)\)", lambda found: COLOURS[found[1]][which], style)
