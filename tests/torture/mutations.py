"""Other bytes made of given ones: damage as disks and copies do it, and text as nobody would write it."""

import random
import re
from collections.abc import Callable, Iterator

_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_TOKEN = re.compile(rb"[A-Za-z]+|\d+|[^\sA-Za-z\d]|\s+")
_NUMBERS = (
    *(b"0", b"-1", b"1e308", b"-1e308", b"1e-320", b"nan", b"inf", b"-inf", b"4294967296", b"2147483647"),
    *(b"99999999999999999999", b"-9223372036854775808", b"0.0000001", b"1e400", b"1000000", b"007", b"0x10"),
)
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x3C, 0x5B)

Mutation = Callable[[bytes, random.Random], bytes]


def flipped(data: bytes, draw: random.Random) -> bytes:
    """One bit."""
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def cut(data: bytes, draw: random.Random) -> bytes:
    """Its beginning."""
    return data[: draw.randrange(len(data))]


def zeroed(data: bytes, draw: random.Random) -> bytes:
    """A run of zeros in it, as of a lost block."""
    begin = draw.randrange(len(data))
    length = min(draw.choice((1, 8, 512, 4096)), len(data) - begin)
    return data[:begin] + bytes(length) + data[begin + length :]


def swapped(data: bytes, draw: random.Random) -> bytes:
    """Two neighbouring stretches in the other order."""
    a, b, c = sorted(draw.randrange(len(data) + 1) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def longer(data: bytes, draw: random.Random) -> bytes:
    """Something behind its end."""
    return data + draw.choice((b"\n", b"\0", b"x" * 100, data[: 1 + draw.randrange(len(data))]))


def without(data: bytes, draw: random.Random) -> bytes:
    """A stretch is gone."""
    begin = draw.randrange(len(data))
    return data[:begin] + data[begin + 1 + draw.randrange(64) :]


def repeated(data: bytes, draw: random.Random) -> bytes:
    """A stretch comes many times."""
    begin = draw.randrange(len(data))
    return (
        data[:begin]
        + data[begin : begin + 1 + draw.randrange(64)] * draw.choice((2, 10, 1000))
        + data[begin:]
    )


def another_byte(data: bytes, draw: random.Random) -> bytes:
    """A byte that means something."""
    place = draw.randrange(len(data))
    return data[:place] + bytes([draw.choice(_INTERESTING)]) + data[place + 1 :]


def another_number(data: bytes, draw: random.Random) -> bytes:
    """A number in a text is huge, negative, or none."""
    there = list(_NUMBER.finditer(data))
    if not there:
        return another_byte(data, draw)
    one = draw.choice(there)
    return data[: one.start()] + draw.choice(_NUMBERS) + data[one.end() :]


def spliced(data: bytes, draw: random.Random) -> bytes:
    """Tokens of a text are left out, doubled, or in another place."""
    tokens = _TOKEN.findall(data)
    if len(tokens) < 4:
        return flipped(data, draw)
    for _ in range(draw.randrange(1, 4)):
        place, other = draw.randrange(len(tokens)), draw.randrange(len(tokens))
        match draw.randrange(4):
            case 0:
                del tokens[place : place + draw.randrange(1, 4)]
            case 1:
                tokens[place:place] = tokens[other : other + draw.randrange(1, 20)]
            case 2:
                tokens[place : place + 1] = [tokens[place]] * draw.choice((2, 50, 2000))
            case _:
                tokens[place : place + 1] = [tokens[other]]
        if len(tokens) < 4:
            break
    return b"".join(tokens)


DAMAGES: tuple[Mutation, ...] = (flipped, flipped, flipped, cut, zeroed, swapped, longer, without)
FOREIGN: tuple[Mutation, ...] = (
    *(flipped, cut, zeroed, swapped, longer, without, repeated, another_byte, another_number, spliced),
    *(another_number, spliced),
)


def damaged(data: bytes, seed: str) -> tuple[str, bytes]:
    """Other bytes than these, and what was done."""
    draw = random.Random(seed)
    while True:
        how = draw.choice(DAMAGES)
        if data and (other := how(data, draw)) != data:
            return how.__name__, other
        if not data:
            return "longer", b"\n"


def foreign(seeds: list[bytes], seed: str) -> bytes:
    """A file that began as one of `seeds`, up to four changes from it; now and then a part of another."""
    draw = random.Random(seed)
    data = draw.choice(seeds)
    if draw.random() < 0.1:
        other = draw.choice(seeds)
        data = data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]
    for _ in range(draw.choice((1, 1, 2, 4))):
        if data:
            data = draw.choice(FOREIGN)(data, draw)
    return data[: 1 << 20]


def numbered(stem: str, count: int, first: int = 0) -> Iterator[str]:
    """Names of trials, which are their seeds."""
    return (f"{stem}:{n}" for n in range(first, first + count))
