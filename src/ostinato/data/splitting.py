"""Train, valid and test: what belongs together stays together, and the same input gives the same splits."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from ostinato.data.sequences import SPLITS
from ostinato.data.sequences import Sequence as Piece
from ostinato.errors import UserError

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}

# below it, a fifth of a piece is too short to be scored
SHORTEST_CUT = 20


def connected(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Number the groups of `count` things: linked things, also through others, have the same number.

    Example:
        >>> connected(5, [(0, 3), (3, 4)])
        [0, 1, 2, 0, 0]
    """
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(links)
    groups = [0] * count
    # in the order of their first things, which is that of the nodes
    for label, members in enumerate(networkx.connected_components(graph)):
        for member in members:
            groups[member] = label
    return groups


def same(keys: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Links between things with equal keys; None is equal to nothing.

    Example:
        >>> same(["a", "b", None, "a", None])
        [(0, 3)]
    """
    first: dict[Hashable, int] = {}
    return [
        (first[key], index)
        for index, key in enumerate(keys)
        if key is not None and first.setdefault(key, index) != index
    ]


def assign(names: Sequence[str], groups: Sequence[int], *, seed: int = 0) -> list[str]:
    """The split of each name: whole groups, 60/20/20 as nearly as the groups allow.

    Groups come largest first, groups of one size in the order of SHA-256(seed, name): an order that depends
    on no library's random numbers and changes little when a piece is added. Each goes to the split that has
    the least of its share; with three groups or more, no split is empty.

    Example:
        >>> sorted(Counter(assign([f"song {k}" for k in range(10)], range(10))).items())
        [('test', 2), ('train', 6), ('valid', 2)]
    """
    members, digest = _members(names, groups, seed)
    filled: Counter[str] = Counter()
    where: dict[int, str] = {}
    for group in sorted(members, key=lambda group: (-len(members[group]), digest[group])):
        where[group] = min(SPLITS, key=lambda split: filled[split] / SHARES[split])
        filled[where[group]] += len(members[group])
    return [where[group] for group in groups]


def deal(names: Sequence[str], groups: Sequence[int], *, seed: int = 0) -> list[str]:
    """The split of each name: whole groups, 60/20/20, and as few as can be move when a name is added.

    Groups stand in the order of SHA-256(seed, first name). First comes what test has, then valid, then
    train: another name moves the two boundaries by one, not the order. A group lies where its middle
    does. Those that a fifth of a split or more would go into are dealt before, the largest first, each to the
    split that has the least of its share; with three groups or more, no split is empty.

    Example:
        >>> names = [f"song {k}" for k in range(10)]
        >>> sorted(Counter(deal(names, range(10))).items())
        [('test', 2), ('train', 6), ('valid', 2)]
    """
    members, digest = _members(names, groups, seed)
    room = {split: len(names) * share for split, share in SHARES.items()}
    where: dict[int, str] = {}
    large = [group for group, own in members.items() if len(own) > max(1, 0.2 * room["test"])]
    for group in sorted(large, key=lambda group: (-len(members[group]), digest[group])):
        where[group] = max(SPLITS, key=lambda split: room[split] / SHARES[split])
        room[where[group]] -= len(members[group])
    rest = sorted(members.keys() - where.keys(), key=digest.__getitem__)
    total = sum(len(members[group]) for group in rest)
    room = {split: max(found, 0.0) for split, found in room.items()}
    scale = total / (sum(room.values()) or 1.0)
    first, second = room["test"] * scale, (room["test"] + room["valid"]) * scale
    passed = 0
    for group in rest:
        middle = passed + len(members[group]) / 2
        where[group] = "test" if middle < first else "valid" if middle < second else "train"
        passed += len(members[group])
    _fill(where, members, digest)
    return [where[group] for group in groups]


def _members(
    names: Sequence[str], groups: Sequence[int], seed: int
) -> tuple[dict[int, list[str]], dict[int, bytes]]:
    """The names of each group, and SHA-256(seed, first name) of each."""
    members: dict[int, list[str]] = defaultdict(list)
    for name, group in zip(names, groups, strict=True):
        members[group].append(name)
    digest = {
        group: hashlib.sha256(repr((seed, min(own))).encode()).digest() for group, own in members.items()
    }
    return members, digest


def _fill(where: dict[int, str], members: Mapping[int, list[str]], digest: Mapping[int, bytes]) -> None:
    """A split that came out empty takes the smallest group of the one that has the most groups."""
    for split in SPLITS:
        count = Counter(where.values())
        if not count[split] and len(where) >= len(SPLITS):
            most = max(SPLITS, key=count.__getitem__)
            spare = [group for group, own in where.items() if own == most]
            where[min(spare, key=lambda group: (len(members[group]), digest[group]))] = split


def gather(pieces: Sequence[Piece], where: Sequence[str]) -> dict[str, tuple[Piece, ...]]:
    """The pieces by split, given the split of each."""
    return {split: tuple(p for p, w in zip(pieces, where, strict=True) if w == split) for split in SPLITS}


def cut_in_time(pieces: Sequence[Piece]) -> dict[str, tuple[Piece, ...]]:
    """Cut each piece's frames at 60% and 80%; pieces too short to be cut go to train.

    For when there are too few pieces to split: the held-out parts are then later parts of the same pieces, so
    the score says how well the model continues them, not how well it does on new music.

    Raises:
        UserError: no piece is long enough.

    Example:
        >>> import numpy as np
        >>> [len(part[0]) for part in cut_in_time([Piece("a", np.zeros((50, 88)))]).values()]
        [30, 10, 10]
    """
    parts: dict[str, list[Piece]] = {split: [] for split in SPLITS}
    for piece in pieces:
        length = len(piece)
        if length < SHORTEST_CUT:
            parts["train"].append(piece)
            continue
        cuts = (0, length * 3 // 5, length * 4 // 5, length)
        for split, begin, end in zip(SPLITS, cuts[:-1], cuts[1:], strict=True):
            parts[split].append(piece.part(f"{piece.name} [{split}]", begin, end))
    if not parts["test"]:
        frames = max(len(piece) for piece in pieces)
        raise UserError(
            f"too little music: expected three different pieces, or one of at least {SHORTEST_CUT} frames "
            f"that can be cut in train, valid and test; found {len(pieces)}, the longest of {frames} frames; "
            "add music, or ask for more frames per beat"
        )
    return {split: tuple(found) for split, found in parts.items()}
