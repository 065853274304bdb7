"""Folders, made with little memory: os.makedirs runs eight functions, whose pages each process of a lab would copy."""

from __future__ import annotations

import os


def make_tree(folder: str) -> None:
    """Make a folder, and those above that are missing; it may exist."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_tree(folder.rpartition("/")[0])
        os.mkdir(folder)
