"""The chord symbols of MusicXML (`<harmony>`) as the pitches they stand for."""

from fractions import Fraction
from xml.etree.ElementTree import Element

from ostinato.errors import UserError

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ROOTS, _BASSES = 48, 36  # C below middle C, and the C below that

# The values of the element kind in MusicXML 4.0, as semitones above the root.
_KINDS = {
    "major": (0, 4, 7), "minor": (0, 3, 7), "augmented": (0, 4, 8), "diminished": (0, 3, 6),
    "dominant": (0, 4, 7, 10), "major-seventh": (0, 4, 7, 11), "minor-seventh": (0, 3, 7, 10),
    "diminished-seventh": (0, 3, 6, 9), "augmented-seventh": (0, 4, 8, 10),
    "half-diminished": (0, 3, 6, 10), "major-minor": (0, 3, 7, 11),
    "major-sixth": (0, 4, 7, 9), "minor-sixth": (0, 3, 7, 9),
    "dominant-ninth": (0, 4, 7, 10, 14), "major-ninth": (0, 4, 7, 11, 14),
    "minor-ninth": (0, 3, 7, 10, 14),
    "dominant-11th": (0, 4, 7, 10, 14, 17), "major-11th": (0, 4, 7, 11, 14, 17),
    "minor-11th": (0, 3, 7, 10, 14, 17),
    "dominant-13th": (0, 4, 7, 10, 14, 17, 21), "major-13th": (0, 4, 7, 11, 14, 17, 21),
    "minor-13th": (0, 3, 7, 10, 14, 17, 21),
    "suspended-second": (0, 2, 7), "suspended-fourth": (0, 5, 7), "power": (0, 7), "pedal": (0,),
    "none": (),
}  # fmt: skip

# Degrees of the chord's scale, in semitones: a seventh is minor, as in a dominant chord.
_DEGREES = {1: 0, 2: 2, 3: 4, 4: 5, 5: 7, 6: 9, 7: 10, 9: 14, 11: 17, 13: 21}


def pitches(harmony: Element) -> tuple[int, ...]:
    """MIDI pitches of a chord, its root in the octave below middle C, a bass of its own below that.

    None for the kind "none". Inversions have no bass of their own: they sound as chords with it, if the file
    says which it is.

    Raises:
        UserError: it is no chord that the standard names.

    Example:
        >>> from xml.etree.ElementTree import fromstring
        >>> pitches(fromstring("<harmony><root><root-step>D</root-step></root><kind>minor</kind></harmony>"))
        (50, 53, 57)
    """
    kind = (harmony.findtext("kind") or "").strip()
    if kind == "none":
        return ()
    root = _pitch_class(harmony, "root")
    if kind not in _KINDS or root is None:
        raise UserError(
            f"expected chord symbols with a root and a kind that MusicXML names, found kind {kind!r}; "
            "read it without chords"
        )
    above = _with_degrees(list(_KINDS[kind]), harmony)
    chord = tuple(_ROOTS + root + step for step in sorted(above))
    bass = _pitch_class(harmony, "bass")
    if bass is None or bass == root:
        return chord
    return (_BASSES + bass, *chord)


def _pitch_class(harmony: Element, name: str) -> int | None:
    step = harmony.findtext(f"{name}/{name}-step")
    if step is None:
        return None
    alter = Fraction((harmony.findtext(f"{name}/{name}-alter") or "0").strip())
    return (_STEPS[step.strip()] + int(alter)) % 12


def _with_degrees(above: list[int], harmony: Element) -> set[int]:
    """What is added to the chord, altered in it, or taken from it."""
    found = set(above)
    for degree in harmony.findall("degree"):
        number = int((degree.findtext("degree-value") or "").strip())
        alter = int(Fraction((degree.findtext("degree-alter") or "0").strip()))
        how = (degree.findtext("degree-type") or "").strip()
        if number not in _DEGREES:
            raise UserError(f"expected a degree of a chord up to the 13th, found {number}")
        usual = _DEGREES[number]
        # a chord's own third, fifth or seventh may be lower or higher than the scale's
        own = [step for step in found if abs(step - usual) <= 1]
        if how in ("subtract", "alter"):
            found -= set(own)
        if how == "alter":
            found.add((own[0] if own else usual) + alter)
        elif how == "add":
            found.add(usual + alter)
    return found
