"""MinLZ: what the specification says, what the original library writes, and what nobody should."""

import contextlib
import os
import random

import pytest

from executor.mounts import minlz_writer as mz
from taskward.executor.mounts import crc32c
from taskward.executor.mounts.minlz import minlz
from taskward.executor.mounts.minlz_block import BlockError, expand

NOISE = random.Random(5).randbytes(70_000)
TALE = b"a small file, a small file, a small file, a small thing and another small file, " + b"a" * 80


def decoded(data: bytes) -> bytes:
    source, target = os.memfd_create("source"), os.memfd_create("target")
    try:
        os.pwrite(source, data, 0)
        minlz(source, target)
        return os.pread(target, os.fstat(target).st_size, 0)
    finally:
        os.close(source)
        os.close(target)


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError, match=r"\(at byte \d+\)$") as caught:
        decoded(data)
    return str(caught.value)


class TestChecksum:
    @pytest.mark.parametrize(
        ("data", "known"),
        [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E),
         (bytes(reversed(range(32))), 0x113FDB5C), (b"123456789", 0xE3069283), (b"", 0)],
    )  # fmt: skip
    def test_it_is_as_rfc_3720_tells(self, data: bytes, known: int) -> None:
        assert crc32c.crc32c(data) == known

    @pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 131_072, 200_001])
    def test_it_is_the_same_over_any_number_of_blocks(self, size: int) -> None:
        data = (NOISE * 3)[:size]
        value = 0xFFFFFFFF
        for byte in data:
            value ^= byte
            for _ in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)

        assert crc32c.crc32c(data) == value ^ 0xFFFFFFFF


class TestOperations:
    """Each as the tables of section 2 of the specification have it, byte by byte."""

    @pytest.mark.parametrize(
        ("compressed", "text"),
        [
            # <literal "xab"> <copy offset=2 length=4>, the example of section 2.2: length 3 is value 2 of tag 0; a copy
            # with tag 1 has length 4 as value 0, offset 2 as 1: its two lower bits in bits 6 and 7
            (b"\x10xab" + b"\x41\x00", b"xababab"),
            # <start of block> <literal "x"> <repeat length=4>, the example there: the first offset is 1
            (b"\x00x" + b"\x1c", b"xxxxx"),
            (b"\xe0" + b"y" * 29, b"y" * 29),  # value 28: the longest without a byte for the length
            (b"\xe8\x00" + b"y" * 30, b"y" * 30),  # 29: 30 and one byte
            (b"\xf0\x00\x01" + b"z" * 286, b"z" * 286),  # 30: 30 and two bytes
            (b"\xf8\x00\x00\x00" + b"z" * 30, b"z" * 30),  # 31: 30 and three bytes
            (b"\x00x" + b"\xec\xff", b"x" * 286),  # repeat of 30 + 255
            (b"\x00x" + b"\xf4\xff\xff", b"x" * (1 + 30 + 65_535)),
            (b"\x00x" + b"\xfc\x00\x00\x01", b"x" * (1 + 30 + 65_536)),
            (b"\x00x" + b"\x39\x00", b"x" * 19),  # copy1, value 14: length 18
            (b"\x00x" + b"\x3d\x00\xff", b"x" * 274),  # value 15: 18 and one byte
            (b"\xf0\xe2\x03" + NOISE[:1024] + b"\xc1\xff", NOISE[:1024] + NOISE[:4]),  # copy1, the largest offset
            (b"\xe8\x22" + NOISE[:64] + b"\x02\x00\x00", NOISE[:64] + NOISE[:4]),  # copy2, the smallest offset, 64
            (b"\xe8\x22" + NOISE[:64] + b"\xf2\x00\x00", NOISE[:64] * 2),  # value 60: length 64
            (b"\xe8\x22" + NOISE[:64] + b"\xf6\x00\x00\x40", NOISE[:64] * 3),  # 61: 64 and one byte
            (b"\xe8\x22" + NOISE[:64] + b"\xfa\x00\x00\x00\x01", NOISE[:64] * 6),  # 62: 64 and two bytes
            (b"\xe8\x22" + NOISE[:64] + b"\xfe\x00\x00\x40\x00\x00", NOISE[:64] * 3),  # 63: 64 and three bytes
            # fused copy2: one literal, then length 4; the offset counts from behind the literal
            (b"\xe8\x22" + NOISE[:64] + b"\x03\x01\x00!", NOISE[:64] + b"!" + NOISE[:4]),
            # four literals, length 11
            (b"\xe8\x22" + NOISE[:64] + b"\xfb\x04\x00abcd", NOISE[:64] + b"abcd" + NOISE[:11]),
        ],
    )
    def test_it_is_read_as_the_specification_tells(self, compressed: bytes, text: bytes) -> None:
        assert expand(compressed, 0, len(text)) == text

    @pytest.mark.parametrize("length", [4, 64, 65, 319, 320, 65_599, 65_600])
    @pytest.mark.parametrize("before", [b"", b"1", b"12", b"123"])
    def test_a_copy_from_far_away(self, length: int, before: bytes) -> None:
        data, offset = NOISE, 65_536 + 100
        at = len(data) + len(before) - offset
        text = data + before + (data + before)[at:][:length] if length <= offset else b""

        assert expand(mz.literals(data) + mz.copy3(offset, length, before), 0, len(text)) == text

    def test_the_largest_offset_of_all(self) -> None:
        data = (NOISE * 31)[:2_162_687]

        assert expand(mz.literals(data) + mz.copy3(2_162_687, 5), 0, len(data) + 5) == data + data[:5]

    def test_a_repeat_takes_the_offset_of_the_last_copy_not_of_a_literal(self) -> None:
        compressed = mz.literals(b"abcdef") + mz.copy1(3, 4) + mz.literals(b"!") + mz.repeat(2)

        assert expand(compressed, 0, 13) == b"abcdefdefd!fd"

    def test_overlapping_copies_of_each_period(self) -> None:
        for period in range(1, 20):
            text = (NOISE[:period] * 40)[: period + 37]
            assert expand(mz.literals(NOISE[:period]) + mz.copy1(period, 37), 0, len(text)) == text


class TestStreams:
    # made by the Go library of the format's authors, version 1.0.0
    LEVEL_1 = (
        "ff0600004d696e4c7a0b022f0000074c4ceba001686120736d616c6c2066696c652c207d0312807468696e6720616e6420616e6f746865"
        "72e90c3d003d20020000a001"
    )
    THREE_BLOCKS_AND_INDEX = (
        "ff0600004d696e4c7a02021c00009030102f80207830313233343536373839616263646566f903f4c00f021c00009030102f8020783031"
        "3233343536373839616263646566f903f4c00f021c0000e91709e6800b7830313233343536373839616263646566f903f4400520020000"
        "804b401c0000733269647800809601e0018080800102000020000000007864693273"
    )
    PADDED = (
        "ff0600004d696e4c7a04021c0000937c5cb4804b7830313233343536373839616263646566f903f4402520020000804bfe0c0000000000"
        "000000000000000000"
    )

    @pytest.mark.parametrize(
        ("stream", "text"),
        [(LEVEL_1, TALE), (THREE_BLOCKS_AND_INDEX, b"0123456789abcdef" * 600), (PADDED, b"0123456789abcdef" * 600),
         ("2001000000", b"")],
    )  # fmt: skip
    def test_what_the_original_writes_is_read(self, stream: str, text: bytes) -> None:
        assert decoded(bytes.fromhex(stream)) == text

    @pytest.mark.parametrize("kind", [0x40, 0x44, 0x45, 0x7F, 0x80, 0xBF, 0xFE])
    def test_chunks_that_may_be_skipped_are_anywhere_but_in_front(self, kind: int) -> None:
        extra = mz.chunk(kind, b"\x00" * 300_000)
        data = mz.identifier() + extra + mz.plain(b"one") + extra + mz.plain(b"two") + extra + mz.end(6) + extra

        assert decoded(data) == b"onetwo"
        assert "begins with an identifier" in refusal(extra + data)

    @pytest.mark.parametrize("kind", [0x00, *range(0x04, 0x20), *range(0x21, 0x40), 0xC0, 0xFD])
    def test_chunks_that_must_be_understood_are_refused(self, kind: int) -> None:
        why = refusal(mz.identifier() + mz.chunk(kind, b"x" * 9) + mz.end(0))

        assert why == f"a chunk of type {kind:#04x} is not known and must not be skipped (at byte 10)"

    def test_streams_one_behind_the_other_count_by_themselves(self) -> None:
        data = mz.compress(b"one" * 9) + mz.end(0) + mz.compress(b"") + mz.compress(b"two" * 9)

        assert decoded(data) == b"one" * 9 + b"two" * 9

    def test_a_checksum_may_be_of_the_compressed_data_with_or_without_the_size(self) -> None:
        compressed, size = mz.literals(b"x") + mz.repeat(40), mz.varint(41)
        for checked in (compressed, size + compressed):
            body = crc32c.masked(checked).to_bytes(4, "little") + size + compressed
            assert decoded(mz.identifier() + mz.chunk(3, body) + mz.end(41)) == b"x" * 41

    def test_an_end_marker_need_not_tell_the_size(self) -> None:
        assert decoded(mz.identifier() + mz.plain(b"one") + mz.chunk(0x20, b"")) == b"one"

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"\xff\x06\x00\x00sNaPpY" + mz.end(0), "not one of MinLZ: 734e61507059"),
            (b"\xff\x06\x00\x00S2sTwO" + mz.end(0), "not one of MinLZ"),
            (mz.identifier(14) + mz.end(0), "not one of MinLZ"),
            (mz.identifier(0x40) + mz.end(0), "not one of MinLZ"),
            (mz.chunk(0xFF, b"MinLz") + mz.end(0), "a chunk of 5 bytes, where 6 to 6 can be"),
            (mz.identifier() + mz.identifier() + mz.end(0), "another stream begins before the end marker"),
            (mz.identifier() + mz.plain(b"one"), "the stream has no end marker"),
            (mz.identifier() + mz.plain(b"one") + mz.end(4), "ends after 3 bytes, its end marker tells otherwise"),
            (mz.identifier() + mz.plain(b"one") + mz.chunk(0x20, b"\x03\x00"), "tells otherwise"),
            (mz.identifier() + mz.chunk(0x20, b"\x80" * 10), "a number that does not end"),
            (mz.identifier() + mz.chunk(0x20, b"\x80" * 11), "a chunk of 11 bytes, where 0 to 10 can be"),
            (mz.compress(b"one") + mz.plain(b"two"), "data outside of a stream"),
            (mz.identifier(0) + mz.plain(b"x" * 1025) + mz.end(1025), "a chunk of 1029 bytes, where 4 to 1028 can be"),
            (mz.identifier() + mz.chunk(1, b"abc"), "a chunk of 3 bytes"),
            (mz.identifier() + mz.chunk(2, b"abc"), "a chunk of 3 bytes"),
            (mz.identifier() + mz.chunk(2, b"abcd"), "a number that does not end"),
            (mz.identifier() + mz.block(b"", b"") + mz.end(0), "a block of 0 bytes"),
            (mz.stream(b"xy", mz.literals(b"xy")), "a block of 2 bytes from 3"),
            (mz.identifier(0) + mz.block(b"x" * 1025, b"\x00x\xf4\xe2\x03") + mz.end(1025), "where 1024 are allowed"),
            (mz.identifier() + mz.chunk(2, bytes(4) + b"\xff" * 9 + b"\x01"), "a block of 18446744073709551615 bytes"),
        ],
    )  # fmt: skip
    def test_a_stream_that_cannot_be_is_refused(self, data: bytes, why: str) -> None:
        assert why in refusal(data)


class TestDamage:
    WHOLE = mz.compress(TALE) + mz.compress(bytes(range(256)) * 3, seed=2)

    def test_a_stream_that_is_cut_at_any_byte_is_refused(self) -> None:
        first = len(mz.compress(TALE))
        for size in range(1, len(self.WHOLE)):
            if size != first:
                refusal(self.WHOLE[:size])

    def test_a_bit_that_flipped_never_makes_other_data(self) -> None:
        whole = mz.stream(TALE, b"".join(mz.operations(TALE, random.Random(3))))
        for at in range(len(whole)):
            for bit in range(8):
                damaged = bytearray(whole)
                damaged[at] ^= 1 << bit
                with contextlib.suppress(ValueError):
                    assert decoded(bytes(damaged)) == TALE, "as another operation of the same effect"

    def test_the_byte_of_an_operation_is_named(self) -> None:
        # ten bytes of identifier, four of head, four of checksum, one of size, two of a literal
        assert refusal(mz.stream(b"x" * 9, b"\x00x" + b"\x05\x01")) == (
            "a copy from before the beginning of the block (at byte 21)"
        )

    @pytest.mark.parametrize(
        "compressed",
        [
            b"\x00x" + b"\xfc\xff\xff\xff",  # a repeat of 16 MiB
            b"\x00x" + b"\x01\x00" * 200_000,
            b"\xf8\xff\xff\xff",  # literals of 16 MiB that are not there
            b"\xe8\x22" + NOISE[:64] + b"\xfe\x00\x00\xff\xff\xff",
            b"\x14",  # a repeat of nothing
            b"\x02\xff\xff" * 9,
            b"\x07\xff\xff\xff" * 9,
        ],
    )
    def test_hostile_lengths_and_offsets_cost_nothing(self, compressed: bytes) -> None:
        with pytest.raises(BlockError):
            expand(compressed, 0, 1000)


class TestFuzz:
    @pytest.mark.parametrize("seed", range(12))
    def test_whatever_was_written_is_read(self, seed: int) -> None:
        rng = random.Random(seed)
        words = [rng.randbytes(rng.choice([1, 3, 5, 30, 300, 3000])) for _ in range(30)]
        data = b"".join(rng.choice(words) * rng.choice([1, 1, 1, 2, 50]) for _ in range(rng.choice([5, 60, 300])))

        assert decoded(mz.compress(data, seed)) == data

    def test_what_is_damaged_is_refused_or_still_the_same(self) -> None:
        rng = random.Random(11)
        data = b"".join(rng.choice([b"one ", b"two, ", NOISE[:90], b"z" * 70]) for _ in range(60))
        whole = mz.compress(data)
        for _ in range(800):
            damaged = bytearray(whole)
            for _ in range(rng.choice([1, 1, 2, 5])):
                at = rng.randrange(len(damaged))
                damaged[at : at + rng.choice([0, 1, 1, 3])] = rng.randbytes(rng.choice([0, 1, 1, 2]))
            with contextlib.suppress(ValueError):
                assert decoded(bytes(damaged)) == data

    def test_blocks_of_chance_end_and_are_no_larger_than_told(self) -> None:
        rng = random.Random(12)
        for _ in range(3000):
            size = rng.choice([1, 10, 1000])
            with contextlib.suppress(BlockError):
                assert len(expand(rng.randbytes(rng.randrange(1, 60)), 0, size)) == size
