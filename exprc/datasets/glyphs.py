"""The pen strokes of the ten digits: what `digits` distorts and draws.

A glyph is a row of control points and its strokes; a stroke names the points that the pen passes, in order, by letter
('a' is the first). A letter that two strokes share is one point, so that a corner stays joined however the points are
moved; a stroke that ends on the letter it began with is closed. x points right, y down, both from 0 to 100.
"""

from __future__ import annotations

from typing import NamedTuple


class Glyph(NamedTuple):
    """One way of writing one digit: its control points, ``(x, y)`` each, and the strokes through them."""

    digit: int
    strokes: tuple[str, ...]
    points: tuple[tuple[int, int], ...]


def _glyph(digit: int, strokes: str, points: str) -> Glyph:
    pairs = [pair.split(",") for pair in points.split()]
    return Glyph(digit, tuple(strokes.split()), tuple((int(x), int(y)) for x, y in pairs))


GLYPHS = (
    # round; egg whose end overlaps its start; with a small loop at the top; narrow
    _glyph(0, "abcdefgha", "50,0 18,14 3,50 16,86 50,100 84,86 97,50 82,14"),
    _glyph(0, "abcdefghij", "62,4 30,8 8,40 10,80 38,100 70,92 90,58 84,20 56,2 34,14"),
    _glyph(0, "abcdefghij", "78,10 48,2 16,24 6,62 28,97 64,94 90,60 84,22 58,10 66,24"),
    _glyph(0, "abcdefgha", "50,0 30,12 20,50 30,88 50,100 70,88 80,50 70,12"),
    # bare; slanted; with a flag; with a flag and a foot; bowed
    _glyph(1, "abc", "50,0 50,50 50,100"),
    _glyph(1, "abc", "66,0 50,50 34,100"),
    _glyph(1, "ab bcd", "30,22 54,0 53,50 52,100"),
    _glyph(1, "ab bcd ef", "32,22 52,0 51,50 50,100 28,100 74,99"),
    _glyph(1, "abc", "56,0 49,48 54,100"),
    # open with a flat foot; with a loop at the foot; like a Z; with a wavy foot
    _glyph(2, "abcdefg gh", "8,24 24,5 54,0 80,14 78,40 46,72 4,98 96,97"),
    _glyph(2, "abcdefghij", "12,22 36,2 70,6 78,32 54,66 22,96 6,86 24,76 58,92 98,92"),
    _glyph(2, "abcde ef", "10,14 44,2 80,16 60,54 8,98 92,99"),
    _glyph(2, "abcdef fgh", "16,18 44,0 76,10 76,36 46,66 6,96 46,88 94,98"),
    # two bowls; with a flat top; small bowl over a large one; round with a loop in the middle
    _glyph(3, "abcde efghi", "12,14 38,0 72,6 74,32 36,46 74,56 86,80 54,100 8,90"),
    _glyph(3, "abc cdefg", "12,4 82,3 38,42 74,50 86,76 54,100 10,92"),
    _glyph(3, "abcde efghi", "22,10 46,0 68,12 62,34 34,42 76,50 92,78 56,100 6,86"),
    _glyph(3, "abcdefghij", "10,12 42,0 76,16 60,40 34,46 52,42 82,62 78,90 44,100 6,88"),
    # open, two strokes; closed, one stroke; with a curved cup; cup and a long stem
    _glyph(4, "ab bc de", "40,0 6,62 96,60 70,26 66,100"),
    _glyph(4, "ab bc ad", "68,0 4,66 96,66 66,100"),
    _glyph(4, "abcde fgh", "16,4 8,34 22,54 54,54 82,42 86,0 80,50 74,100"),
    _glyph(4, "ab bcd efg", "14,8 10,52 50,56 92,50 78,2 72,50 68,100"),
    # bar apart; in one go; angular; like an S
    _glyph(5, "ab acdefg", "20,4 90,2 16,42 56,38 88,64 60,98 6,90"),
    _glyph(5, "ab bc cdefgh", "84,2 26,6 18,44 50,36 84,54 82,84 46,100 8,86"),
    _glyph(5, "ab bc cdef", "82,0 30,2 22,48 78,52 76,90 12,98"),
    _glyph(5, "abcdefgh", "92,4 54,2 24,18 32,42 66,54 78,80 48,100 6,90"),
    # curled; with a straight back; small low bowl; wide bowl that closes inside
    _glyph(6, "abcdefghi", "74,2 38,18 12,56 22,92 58,100 82,80 70,56 38,56 16,78"),
    _glyph(6, "abcdefgh", "56,0 30,36 14,74 36,99 68,92 74,68 48,58 18,76"),
    _glyph(6, "abcdefghi", "84,10 54,2 22,30 10,70 34,98 70,96 84,72 58,56 16,74"),
    _glyph(6, "abcdefgh", "40,0 20,40 16,84 48,100 80,86 78,62 48,54 18,74"),
    # plain; with a bar; with a hook at the left; curved leg; short bar and hook
    _glyph(7, "ab bcd", "8,6 90,4 60,50 38,100"),
    _glyph(7, "ab bcd ef", "10,6 90,4 58,50 40,100 34,54 80,50"),
    _glyph(7, "ab bc cde", "10,24 14,4 92,6 60,46 46,100"),
    _glyph(7, "abc cde", "6,14 40,4 88,8 54,40 34,100"),
    _glyph(7, "ab bc cde fg", "12,20 14,6 86,4 60,50 34,100 30,52 78,56"),
    # one stroke from the top right; upright from the middle; two rings; open at the top
    _glyph(8, "abcdefghija", "72,10 44,0 22,18 42,42 76,64 72,94 36,100 16,78 40,52 76,30"),
    _glyph(8, "abcdefgha", "50,46 22,24 50,0 78,24 50,46 18,74 50,100 82,74"),
    _glyph(8, "abcda aefga", "50,44 26,22 50,0 74,20 14,76 50,100 86,74"),
    _glyph(8, "abcdefghij", "86,6 50,0 20,20 40,44 74,66 66,96 28,98 18,72 50,48 88,14"),
    # straight leg; curved leg; leg with a hook; slanted
    _glyph(9, "abcdefa ag", "78,22 48,2 18,18 16,44 44,56 72,42 72,100"),
    _glyph(9, "abcdef fgh", "80,10 44,0 14,26 28,54 62,48 82,8 78,56 52,100"),
    _glyph(9, "abcdef afghi", "78,14 44,2 18,22 24,48 54,54 78,36 78,72 58,98 18,94"),
    _glyph(9, "abcdefgh", "82,20 54,2 22,16 18,44 46,54 82,18 68,60 46,100"),
)
