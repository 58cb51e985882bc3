"""Reads a QR code back from its modules, after ISO/IEC 18004: versions 1 to 3, undamaged, of bytes, letters or digits.

It knows nothing of the library that draws the codes, and refuses a code that breaks a rule.
"""

from collections.abc import Callable, Iterator, Sequence

Matrix = Sequence[Sequence[bool]]

_MASKS: Sequence[Callable[[int, int], bool]] = (
    lambda y, x: (y + x) % 2 == 0,
    lambda y, _x: y % 2 == 0,
    lambda _y, x: x % 3 == 0,
    lambda y, x: (y + x) % 3 == 0,
    lambda y, x: (y // 2 + x // 3) % 2 == 0,
    lambda y, x: y * x % 2 + y * x % 3 == 0,
    lambda y, x: (y * x % 2 + y * x % 3) % 2 == 0,
    lambda y, x: ((y + x) % 2 + y * x % 3) % 2 == 0,
)
_FINDER = ("1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111")
# Codewords of data, by version and by level of correction (L, M, Q, H), and in how many blocks.
_DATA = {1: (19, 16, 13, 9), 2: (34, 28, 22, 16), 3: (55, 44, 34, 26)}
_BLOCKS = {1: (1, 1, 1, 1), 2: (1, 1, 1, 1), 3: (1, 1, 2, 2)}
_LEVELS = {0b01: 0, 0b00: 1, 0b11: 2, 0b10: 3}
_FORMAT_MASK = 0b101010000010010
_FORMAT_GENERATOR = 0b10100110111
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


def read_qr_code(matrix: Matrix) -> str:
    size = len(matrix)
    version = (size - 17) // 4
    assert version in _DATA
    assert all(len(row) == size for row in matrix)
    for top, left in ((0, 0), (0, size - 7), (size - 7, 0)):
        assert tuple("".join(str(int(matrix[top + y][left + x])) for x in range(7)) for y in range(7)) == _FINDER
    level, mask = _format(matrix)
    bits = "".join(str(int(matrix[y][x] != _MASKS[mask](y, x))) for y, x in _positions(size, version))
    codewords = [int(bits[start : start + 8], 2) for start in range(0, len(bits) - 7, 8)]
    # The first codewords of all blocks come first, then the second ones, and so on.
    blocks = _BLOCKS[version][level]
    data = codewords[: _DATA[version][level]]
    return _text("".join(f"{word:08b}" for block in range(blocks) for word in data[block::blocks]))


def _format(matrix: Matrix) -> tuple[int, int]:
    """Level of correction and mask."""
    places = [(8, x) for x in (0, 1, 2, 3, 4, 5, 7, 8)] + [(y, 8) for y in (7, 5, 4, 3, 2, 1, 0)]
    value = int("".join(str(int(matrix[y][x])) for y, x in places), 2) ^ _FORMAT_MASK
    rest = value
    for shift in range(4, -1, -1):
        if rest >> (shift + 10) & 1:
            rest ^= _FORMAT_GENERATOR << shift
    assert rest == 0, "the format information is damaged"
    return _LEVELS[value >> 13], value >> 10 & 7


def _positions(size: int, version: int) -> Iterator[tuple[int, int]]:
    """The modules of data, in pairs of columns from the right, up and down in turn."""
    upwards = True
    for right in range(size - 1, 0, -2):
        # The column of the timing pattern is none of a pair.
        column = right - 1 if right <= 6 else right
        for y in range(size - 1, -1, -1) if upwards else range(size):
            for x in (column, column - 1):
                if not _is_pattern(y, x, size, version):
                    yield y, x
        upwards = not upwards


def _is_pattern(y: int, x: int, size: int, version: int) -> bool:
    corner = (y < 9 and x < 9) or (y < 9 and x >= size - 8) or (y >= size - 8 and x < 9)
    centre = size - 7
    alignment = version > 1 and abs(y - centre) <= 2 and abs(x - centre) <= 2
    return corner or y == 6 or x == 6 or alignment


def _text(bits: str) -> str:
    read = 0

    def take(count: int) -> int:
        nonlocal read
        read += count
        return int(bits[read - count : read], 2)

    mode = take(4)
    if mode == 0b0100:
        return bytes(take(8) for _ in range(take(8))).decode()
    if mode == 0b0010:
        count = take(9)
        pairs = [divmod(take(11), 45) for _ in range(count // 2)]
        return "".join(_LETTERS[a] + _LETTERS[b] for a, b in pairs) + (_LETTERS[take(6)] if count % 2 else "")
    assert mode == 0b0001, "another mode than digits, letters or bytes"
    count = take(10)
    digits = "".join(f"{take(10):03}" for _ in range(count // 3))
    if count % 3 == 0:
        return digits
    return digits + (f"{take(4)}" if count % 3 == 1 else f"{take(7):02}")
