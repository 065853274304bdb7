"""Korean particles: which one follows a word is a matter of the sound that the word ends with."""

from __future__ import annotations

import re

_DIGITS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}
"""The consonants that digits end with: yeong (as ten and hundred, for which 0 stands, too), il, sam, yuk, chil, pal."""
_LETTERS = {"l": "ㄹ", "m": "ㅁ", "n": "ㄴ", "r": "ㄹ"}
"""Those of letters that are spelled: el, em, en, al."""
_WORDS = (("ng", "ㅇ"), ("n", "ㄴ"), ("ne", "ㄴ"), ("m", "ㅁ"), ("me", "ㅁ"), ("l", "ㄹ"), ("le", "ㄹ"))
"""Those of words that are read as words: name is neim, table is teibeul, but server is seobeo."""
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
"""What a syllable of Hangul ends with, in Unicode's order."""


def particle(word: object, after_consonant: str, after_vowel: str) -> str:
    """The word with the one of two particles that follows it when read aloud: 이 or 가, 은 or 는, 으로 or 로."""
    final = final_consonant(str(word))
    # What begins with 으 loses it behind ㄹ as well.
    closed = final and not (final == "ㄹ" and after_consonant.startswith("으"))
    return f"{word}{after_consonant if closed else after_vowel}"


def final_consonant(word: str) -> str:
    """The consonant that a word ends with when read aloud, if any; marks behind its last letter are not read."""
    found = re.search(r"([가-힣]|[0-9]|[A-Za-z]+)[^0-9A-Za-z가-힣]*$", word)
    if found is None:
        return ""
    last = found[1]
    if "가" <= last <= "힣":
        return _FINALS[(ord(last) - ord("가")) % 28].strip()
    if last.isdigit():
        return _DIGITS.get(last, "")
    if _is_spelled(last, word[: found.start()]):
        return _LETTERS.get(last[-1].lower(), "")
    return next((final for ending, final in _WORDS if last.endswith(ending)), "")


def _is_spelled(letters: str, before: str) -> bool:
    """Whether letters are read one by one: those of abbreviations and numbers are, those of words are not."""
    return not letters[1:].islower() or not re.search("[aeiouy]", letters) or before[-1:].isdigit()
