"""Prompts that repeat others, in the same words or nearly, and pictures that are one under several names."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data.survey.measure import BYTES, Measures
from data.survey.table import Part, Table, share
from training.utils.data.look import share_out

ALIKE = 0.7  # of the neighbouring words of two prompts, that both have
NEIGHBOURS = 20  # that a prompt is compared with, for each rare pair of words that it shares with others
NUM_EXAMPLES = 2
MANY = 0.01  # share of the prompts from which on a warning is due
METHOD = (
    f"nearly: the same pictures, and at least {100 * ALIKE:.0f} % of the pairs of neighbouring words that either has "
    "are in both (Jaccard index); case and punctuation do not count"
)


def duplicates(found: Sequence[Measures], where: Sequence[str], contents: dict[str, str]) -> Part:
    """Prompts with the same text and pictures, and those that are nearly so.

    Args:
        where: "file[index]" of each record.
        contents: of pictures that are the same, by name, as `same_pictures` says.
    """
    if not found:
        return Part()
    groups: dict[tuple, list[int]] = defaultdict(list)
    for at, each in enumerate(found):
        groups[each.text, tuple(contents.get(name, name) for name in each.pictures)].append(at)
    repeated = [group for group in groups.values() if len(group) > 1]
    firsts = [group[0] for group in groups.values()]
    numbers: dict[tuple, int] = {}  # of the pictures: prompts with others have no pair of words in common
    of_pictures = [numbers.setdefault(pictures, len(numbers)) for _, pictures in groups]
    pairs = zip(firsts, of_pictures, strict=True)
    near = similar([found[at].word_pairs | np.uint64(number << 32) for at, number in pairs])
    surplus = sum(len(group) - 1 for group in repeated)
    num_near = sum(map(len, near))

    def examples(groups: Sequence[Sequence[int]]) -> str:
        largest = sorted(groups, key=len, reverse=True)[:NUM_EXAMPLES]
        return "; ".join(f"{where[group[0]]} = {where[group[1]]}" for group in largest)

    rows = [
        ("different prompts", f"{len(groups):,}", "", ""),
        ("records that repeat the prompt of one before", f"{surplus:,}", share(surplus, len(found)),
         examples(repeated)),
        ("different prompts that nearly repeat another", f"{num_near:,}", share(num_near, len(groups)),
         examples([[firsts[at] for at in group] for group in near])),
    ]  # fmt: skip
    told = [
        text
        for part, text in (
            (
                surplus / len(found),
                f"{share(surplus, len(found))} of the records repeat the prompt of another",
            ),
            (
                num_near / len(groups),
                f"{share(num_near, len(groups))} of the different prompts nearly repeat another",
            ),
        )
        if part > MANY
    ]
    warnings = []
    if told:
        warnings.append(
            f"{', and '.join(told)}: a held-out part drawn at random holds prompts that are trained on."
        )
    return Part([Table("Repeated prompts", ("", "number", "share", "for example"), rows, METHOD)], warnings)


def repeated_pictures(contents: dict[str, str]) -> Part:
    """Pictures that stand under several names."""
    if not contents:
        return Part()
    names = defaultdict(list)
    for name, content in contents.items():
        names[content].append(name)
    largest = sorted(names.values(), key=len, reverse=True)[:NUM_EXAMPLES]
    rows = [(f"{len(group):,}", ", ".join(group[:2])) for group in largest]
    said = (
        f"{len(contents):,} picture files hold only {len(names):,} different pictures: one that is trained on can be "
        "held out under another name."
    )
    return Part([Table("One picture under several names", ("names", "for example"), rows)], [said])


def same_pictures(found: Sequence[Measures], num_workers: int) -> dict[str, str]:
    """The files whose bytes are those of another, with a digest of these. Only files of one size are read."""
    by_size = defaultdict(list)
    for name in {name for each in found for name in each.pictures if not name.startswith(BYTES)}:
        if (file := Path(name)).is_file():
            by_size[file.stat().st_size].append(name)
    names = [name for alike in by_size.values() if len(alike) > 1 for name in alike]

    def digests(chunk: np.ndarray) -> list[str]:
        return [_digest(Path(names[at])) for at in map(int, chunk)]

    read = [digest for part in share_out(digests, np.arange(len(names)), num_workers) for digest in part]
    number = Counter(read)
    return {name: digest for name, digest in zip(names, read, strict=True) if number[digest] > 1}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest()


def similar(sets: Sequence[np.ndarray]) -> list[list[int]]:
    """Groups of sets of which each is `ALIKE` another of its group, by the Jaccard index.

    Two sets that are so alike share one of their few rarest members (the prefix filter of Chaudhuri, Ganti and
    Kaushik, ICDE 2006), so only those are compared that do. Of many with one rare member each is compared with the
    next `NEIGHBOURS` by size: that finds chains, and takes time in proportion to the sets.
    """
    leader = list(range(len(sets)))

    def lead(at: int) -> int:
        while leader[at] != at:
            leader[at] = at = leader[leader[at]]
        return at

    members: dict[int, frozenset] = {}
    for group in _candidates(sets):
        for number, a in enumerate(group):
            for b in group[number + 1 : number + 1 + NEIGHBOURS]:
                if len(sets[a]) < ALIKE * len(sets[b]):
                    break
                if lead(a) == lead(b):
                    continue
                for at in (a, b):
                    if at not in members:
                        members[at] = frozenset(sets[at].tolist())
                common = len(members[a] & members[b])
                if common >= ALIKE * (len(members[a]) + len(members[b]) - common):
                    leader[lead(b)] = lead(a)
    groups = defaultdict(list)
    for at in range(len(sets)):
        groups[lead(at)].append(at)
    return [group for group in groups.values() if len(group) > 1]


def _candidates(sets: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """For each member that is among the rarest of several sets, these, the smallest first."""
    sizes = np.array([len(each) for each in sets])
    owner = np.repeat(np.arange(len(sets)), sizes)
    _, member, times = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    order = np.lexsort((member, times[member], owner))  # each set's members, the rarest first
    owner, member = owner[order], member[order]
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    prefix = sizes - np.ceil(ALIKE * sizes).astype(int) + 1
    kept = (rank < prefix[owner]) & (times[member] > 1)
    owner, member = owner[kept], member[kept]
    order = np.lexsort((sizes[owner], member))
    owner, member = owner[order], member[order]
    for group in np.split(owner, np.flatnonzero(np.diff(member)) + 1):
        if len(group) > 1:
            yield group.tolist()
