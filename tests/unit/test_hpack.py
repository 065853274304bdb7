"""HPACK held against the package hpack, which is h2's."""

from __future__ import annotations

import contextlib
import string

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nslab.wire.hpack import LONGEST, CompressionError, HeaderDecoder, encoded, uncompressed

NAMES = st.sampled_from([":path", ":method", "content-type", "te", "x-own", "a-rather-long-name-of-nobodys"])
VALUES = st.sampled_from(["", "GET", "/grpc.health.v1.Health/Check", "500m"]) | st.text(string.printable, max_size=12)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


@given(st.lists(st.tuples(HEADERS, st.booleans()), max_size=3))
def test_what_another_encodes_is_decoded(
    blocks: list[tuple[list[tuple[str, str]], bool]],
) -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder()
    for headers, huffman in blocks:
        assert decoder.decode(encoder.encode(headers, huffman=huffman)) == headers


@given(HEADERS, st.integers(0, 4096))
def test_a_smaller_table_forgets(headers: list[tuple[str, str]], size: int) -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder()
    assert decoder.decode(encoder.encode(headers)) == headers
    encoder.header_table_size = size
    assert decoder.decode(encoder.encode(headers)) == headers


@given(HEADERS)
def test_another_decodes_what_is_encoded(headers: list[tuple[str, str]]) -> None:
    found = hpack.Decoder().decode(encoded(headers))
    assert [(str(name), str(value)) for name, value in found] == headers


@given(st.binary(max_size=60))
def test_any_bytes_are_headers_or_one_error(block: bytes) -> None:
    with contextlib.suppress(CompressionError):
        HeaderDecoder().decode(block)


@given(st.binary(max_size=30))
def test_every_byte_has_a_code(data: bytes) -> None:
    coded = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    ).encode(data)
    assert uncompressed(coded) == data


@pytest.mark.parametrize(
    "block",
    [
        b"\x80", b"\xbf\x80", b"\xff\xff\xff\xff\xff\xff", b"\x3f\xe2\x1f", b"\x40", b"\x40\x01", b"\x40\x05abc",
        b"\x00\x81\xff\x00", b"\x00\x84\xff\xff\xff\xff\x00", b"\x00\x81\x00\x00", b"\x41\x7f",
    ],
)  # fmt: skip
def test_what_is_malformed(block: bytes) -> None:
    with pytest.raises(CompressionError):
        HeaderDecoder().decode(block)


def test_a_small_block_that_would_be_huge() -> None:
    decoder = HeaderDecoder()
    decoder.decode(b"\x40\x01a\x7f\x80\x1e" + b"b" * 3967)
    with pytest.raises(CompressionError, match="too long"):
        decoder.decode(b"\xbe" * (LONGEST // 3967 + 1))


def test_the_static_table() -> None:
    every = [(name.decode(), value.decode()) for name, value in hpack.hpack.HeaderTable.STATIC_TABLE]
    assert HeaderDecoder().decode(bytes(0x80 | index for index in range(1, 62))) == every
