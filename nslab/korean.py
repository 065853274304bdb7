"""Korean particles, which depend on the final sound of the word before them."""

from __future__ import annotations

import re

_DIGITS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}
"""The final consonants of digits: yeong (0, and the ends of ten and hundred), il, sam, yuk, chil, pal."""
_LETTERS = {"l": "ㄹ", "m": "ㅁ", "n": "ㄴ", "r": "ㄹ"}
"""The final consonants of spelled letters: el, em, en, al."""
_WORDS = (("ng", "ㅇ"), ("n", "ㄴ"), ("ne", "ㄴ"), ("m", "ㅁ"), ("me", "ㅁ"), ("l", "ㄹ"), ("le", "ㄹ"))
"""The final consonants of English words: name is neim, table is teibeul, but server is seobeo."""
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
"""The final consonants of Hangul syllables, in Unicode's order."""


def particle(word: object, after_consonant: str, after_vowel: str) -> str:
    """The word with the particle that fits its pronunciation: 이 or 가, 은 or 는, 으로 or 로."""
    final = final_consonant(str(word))
    # A particle that begins with 으 loses it after ㄹ as well.
    closed = final and not (final == "ㄹ" and after_consonant.startswith("으"))
    return f"{word}{after_consonant if closed else after_vowel}"


def final_consonant(word: str) -> str:
    """The final consonant of a word's pronunciation, or ""; marks after its last letter are silent."""
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
    """Whether letters are spelled: those of abbreviations, and after numbers, are; those of words are not."""
    return not letters[1:].islower() or not re.search("[aeiouy]", letters) or before[-1:].isdigit()
