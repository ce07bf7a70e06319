"""Tunes from a seeded generator: every sign of ABC that changes what sounds, in forms that are well made."""

import random

KEYS = [
    "C",
    "G",
    "Dm",
    "A mix",
    "Edor",
    "F#m",
    "Bb",
    "Ephr",
    "Flyd",
    "HP",
    "none",
    "Hp",
    "Ab minor",
    "C exp _B ^f",
]
KEYS += [
    "D ^g",
    "Am clef=bass",
    "G octave=-1",
    "C transpose=-2",
    "D treble-8",
    "Gm alto+8",
    "B",
    "Cb",
    "Bloc",
]
METRES = ["4/4", "C", "C|", "3/4", "6/8", "9/8", "2/4", "2+3/8", "12/8", "none"]
LENGTHS = ["", "", "", "2", "/", "3/2", "/2", "3", "//", "4", "3/4"]
SAID = [
    '"Am"',
    '"^rit."',
    "{g}",
    "{ab}",
    "!p!",
    "H",
    "u",
    "v",
    "!tenuto!",
    "(",
    ")",
    ".(",
    ")",
    "[r:so]",
    "y",
    "`",
]


class Tune:
    """A tune of one seed; `text` is its ABC."""

    def __init__(self, number):
        self.random = random.Random(number)
        # abc2midi places overlays by the metre, forgets to transpose them, and loses them in repeats
        self.overlays = self.random.random() < 0.15
        self.metre = "4/4" if self.overlays else self.random.choice(METRES)
        lines = [f"X:{number}", f"T:tune {number} % of a test", f"M:{self.metre}"]
        if self.overlays:
            lines.append("L:1/4")
        elif self.random.random() < 0.7:
            lines.append(f"L:1/{self.random.choice([4, 8, 16])}")
        labels = []
        if self.random.random() < 0.2 and not self.overlays:
            labels = ["A", "B"]
            lines.append(f"P:{self.random.choice(['ABA', 'A2B', '(AB)2', 'BA'])}")
        voices = (
            [""]
            if labels or self.overlays or self.random.random() < 0.6
            else ["1", "2", "lower"][: self.random.randint(2, 3)]
        )
        # abc2midi forgets a clef in K: where V: follows
        self.alone = voices == [""] and not labels
        keys = KEYS if voices == [""] and not self.overlays else KEYS[:15]
        lines.append(f"K:{self.random.choice(keys)}")
        for voice in voices:
            if voice:
                lines.append(
                    f"V:{voice}{self.random.choice(['', ' octave=1', ' clef=bass-8', ' transpose=-3'])}"
                )
            if labels:
                for label in labels:
                    lines += [f"P:{label}", *self.sections()]
            else:
                lines += self.sections()
        self.text = "\n".join(lines) + "\n"

    def choice(self, *weighted):
        kinds, weights = zip(*weighted, strict=True)
        return self.random.choices(kinds, weights)[0]

    def sections(self):
        form = self.choice(("plain", 2), ("repeat", 2), ("endings", 2), ("double", 1), ("missing", 1))
        form = "plain" if self.overlays else form
        if form == "missing" and not self.alone:
            form = "double"  # abc2midi sees a repeat without beginning in tunes of one voice only
        a, b = self.bars(2), self.bars(2)
        return {
            "plain": [f"{a}|", f"{b}|]"],
            "repeat": [f"|:{a}:|", f"|:{b}:|"],
            "endings": [
                f"|:{a}|1 {self.bars(1)}:|2 {self.bars(1)}|",
                f"|:{b}|[1,3{self.bar()}:|[2 {self.bar()}:|[4{self.bar()}|]",
            ],
            "double": [f"{a}::", f"{b}:|"],
            "missing": [f"{a}:|", "w: la la", f"{b}:|", f"{self.bars(1)}|]"],
        }[form]

    def bars(self, count):
        return " | ".join(self.bar() for _ in range(count))

    def bar(self):
        if self.overlays:
            half = f"{self.note('2')}{self.note('2')}"
            return self.random.choice([half, f"{half}&{self.note('4')}", f"{half} & z {self.note('3')}"])
        kind = self.choice(("music", 12), ("rest", 1), ("change", 1.5))
        if kind == "rest":
            return self.random.choice(["Z", "X", "Z2", "z4", "x2 z2"])
        change = (
            self.random.choice(["[K:D]", "[M:3/4]", "[L:1/8]", "[K:Fmin]", "[M:6/8]"])
            if kind == "change"
            else ""
        )
        return change + " ".join(self.group() for _ in range(self.random.randint(2, 5)))

    def group(self):
        kind = self.choice(
            ("note", 8), ("chord", 2), ("rest", 1), ("tuplet", 1.5), ("broken", 2), ("tie", 1.5), ("said", 2)
        )
        if kind == "note":
            return self.note(self.random.choice(LENGTHS))
        if kind == "chord":
            return self.chord()
        if kind == "rest":
            return self.random.choice("zx") + self.random.choice(LENGTHS)
        if kind == "said":
            return self.random.choice(SAID) + self.note("")
        if kind == "broken":
            return (
                self.note("")
                + self.random.choice([">", "<", ">>", " < "])
                + self.random.choice([self.note(""), "z"])
            )
        if kind == "tie":
            note = self.note("")
            plain = note.lstrip("^_=")
            return self.random.choice([f"{note}-{plain}2", f"[{plain}-C,,]{plain}", f"{note} -{plain}"])
        count, said = self.random.choice(
            [(2, "(2"), (3, "(3"), (4, "(4"), (6, "(6"), (3, "(3:2:3"), (5, "(5:4:5")]
        )
        return said + "".join(self.note("") for _ in range(count))

    def chord(self):
        letters = self.random.sample("CEGBdf", self.random.randint(2, 3))
        return f"[{''.join(letters)}]{self.random.choice(['', '2', '/'])}"

    def note(self, length):
        accidental = self.choice(("", 8), ("^", 1), ("_", 1), ("=", 1), ("^^", 0.2), ("__", 0.2))
        return (
            accidental
            + self.random.choice("CDEFGABcdefgab")
            + self.choice(("", 6), ("'", 1), (",", 1))
            + length
        )
