"""Header compression of HTTP/2 (RFC 7541): a decoder, and an encoder of literals."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    Header: TypeAlias = tuple[str, str]

_STATIC_WORDS = """
    :authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 :status=204
    :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset accept-encoding=gzip,_deflate
    accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control
    content-disposition content-encoding content-language content-length content-location content-range content-type
    cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since
    last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh
    retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate
"""
_LENGTHS = (
    "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijb"
    "kabababbbaccbbbabcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs"
    "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz"
)
"""The number of bits of each byte's Huffman code, and of the end's: a is 5, z is 30. The code is canonical."""
TABLE_SIZE = 4096
"""The most bytes of a dynamic table."""
_OVERHEAD = 32
"""What an entry counts besides its name and its value."""
LONGEST = 1 << 14
"""The most bytes of a header list, uncompressed."""
_END = 256


class CompressionError(ValueError):
    """A block of headers that is malformed, or too long."""


def _static() -> tuple[Header, ...]:
    pairs = (word.partition("=") for word in _STATIC_WORDS.split())
    return tuple((name, value.replace("_", " ")) for name, _, value in pairs)


def _codes() -> dict[tuple[int, int], int]:
    """The symbols by the number of bits and the code: in the order of lengths, then of symbols, codes count up."""
    found: dict[tuple[int, int], int] = {}
    code = before = 0
    for length, symbol in sorted((ord(letter) - ord("a") + 5, symbol) for symbol, letter in enumerate(_LENGTHS)):
        code <<= length - before
        found[length, code] = symbol
        code, before = code + 1, length
    return found


_STATIC, _SYMBOLS = _static(), _codes()


class HeaderDecoder:
    """The receiving end of one connection's headers."""

    def __init__(self) -> None:
        self._dynamic: list[Header] = []
        self._most = TABLE_SIZE

    def decode(self, block: bytes) -> list[Header]:
        """The headers of a block; CompressionError, after which the connection is of no more use."""
        found: list[Header] = []
        reader, length = _BlockReader(block), 0
        while reader.left:
            if (one := self._next(reader)) is None:
                continue
            length += _size(one)
            if length > LONGEST:
                raise CompressionError("the headers are too long")
            found.append(one)
        return found

    def _next(self, reader: _BlockReader) -> Header | None:
        first = reader.left[0]
        if first & 0x80:
            return self._entry(reader.integer(7))
        if first & 0x40:
            header = self._literal(reader, 6)
            self._dynamic.insert(0, header)
            self._shrink()
            return header
        if first & 0x20:
            self._most = reader.integer(5)
            if self._most > TABLE_SIZE:
                raise CompressionError("the dynamic table would be too large")
            self._shrink()
            return None
        return self._literal(reader, 4)

    def _literal(self, reader: _BlockReader, bits: int) -> Header:
        index = reader.integer(bits)
        name = self._entry(index)[0] if index else reader.text()
        return name, reader.text()

    def _entry(self, index: int) -> Header:
        if not 0 < index <= len(_STATIC) + len(self._dynamic):
            raise CompressionError(f"there is no header {index}")
        return _STATIC[index - 1] if index <= len(_STATIC) else self._dynamic[index - 1 - len(_STATIC)]

    def _shrink(self) -> None:
        while self._dynamic and sum(map(_size, self._dynamic)) > self._most:
            self._dynamic.pop()


class _BlockReader:
    """What is left of a block."""

    def __init__(self, block: bytes) -> None:
        self.left = block

    def integer(self, bits: int) -> int:
        """A number whose prefix takes `bits` of the first byte."""
        most = (1 << bits) - 1
        value, self.left = self.left[0] & most, self.left[1:]
        shift = 0
        while value >= most and (shift or value == most):
            if not self.left or shift > 21:
                raise CompressionError("a number is not whole, or too large")
            more, self.left = self.left[0], self.left[1:]
            value += (more & 0x7F) << shift
            shift += 7
            if not more & 0x80:
                break
        return value

    def text(self) -> str:
        """A string, by its length."""
        if not self.left:
            raise CompressionError("a string is missing")
        coded = bool(self.left[0] & 0x80)
        length = self.integer(7)
        data, self.left = self.left[:length], self.left[length:]
        if len(data) < length:
            raise CompressionError("a string is not whole")
        return (uncompressed(data) if coded else data).decode("latin-1")


def uncompressed(data: bytes) -> bytes:
    """The bytes of Huffman-coded data; what is left at the end must be the first bits of the end's code."""
    found, code, length = bytearray(), 0, 0
    for byte in data:
        for shift in range(7, -1, -1):
            code, length = code << 1 | byte >> shift & 1, length + 1
            symbol = _SYMBOLS.get((length, code))
            if symbol == _END or length > 30:
                raise CompressionError("a string is not well coded")
            if symbol is not None:
                found.append(symbol)
                code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise CompressionError("a string is not well coded")
    return bytes(found)


def encoded(headers: Iterable[Header]) -> bytes:
    """Headers as literals, each shorter than 127 bytes, none of which is remembered."""
    return b"".join(part for name, value in headers for part in _encoded(name, value))


def _encoded(name: str, value: str) -> Iterator[bytes]:
    yield b"\0"
    for text in (name, value):
        data = text.encode("latin-1")
        assert len(data) < 0x7F
        yield bytes([len(data)]) + data


def _size(header: Header) -> int:
    return len(header[0]) + len(header[1]) + _OVERHEAD
