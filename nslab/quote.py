"""Safe output: words quoted for a shell, texts with control characters made visible.

A word or a text may come from a lab file, a container or the kernel, so it is untrusted. A terminal interprets control
characters and bidirectional ones, so a reader would see another command than the shell.
"""

from __future__ import annotations

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./-_")
"""Characters without a meaning for any shell, as in shlex (whose import costs time at every start)."""
_SPACES = "\n\t\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""White space that `isprintable` rejects, although a reader recognizes it."""
_LETTERS = {"\n": r"\n", "\t": r"\t", "\\": r"\\", "'": r"\'"}


def quote(word: str) -> str:
    """One word for a shell, in printable characters on one line. ValueError for a word with NUL.

    Printable words are quoted for every POSIX shell; others as $'…', for bash, zsh, ksh and busybox (and dash from
    0.5.13 on), byte for byte, so that the shell's locale makes no difference.
    """
    if word and _PLAIN.issuperset(word):
        return word
    if word.isprintable():
        return "'" + word.replace("'", "'\"'\"'") + "'"
    if "\0" in word:
        raise ValueError("no word of a command can hold a NUL")
    return f"$'{''.join(map(_as_bytes, word))}'"


def fill(template: str, *words: object) -> str:
    """A line for a shell: the template with a quoted word for each `{}`."""
    return template.format(*(quote(str(word)) for word in words))


def visible(text: str) -> str:
    r"""A text for a reader: escapes such as `\x1b` and `\u202e` replace invisible and control characters."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char in _SPACES else escaped(char) for char in text)


def one_line(text: str) -> str:
    """The visible text on one line."""
    return visible(text).replace("\n", r"\n")


def comment(text: str) -> str:
    """A comment line for a shell."""
    return f"# {one_line(text)}"


def escaped(char: str) -> str:
    r"""The escape of a character; a byte that is not UTF-8 (a surrogate in Python) as that byte."""
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _as_bytes(char: str) -> str:
    if char in _LETTERS or char.isprintable():
        return _LETTERS.get(char, char)
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
