"""Decide what a simulated cohort holds: sets, versions and smears, all numbers and no image.

Source cells are shared out to the five sets of the thesis's chapter 5 so that a source cell, a
patient and a smear stay within one; each then gets its versions (how many granules are taken out,
which stain), and smears are composed. Every decision draws from a generator of its own, seeded by
what it is for. `cohort` finds the usable cells and writes the images.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cellnet.cells import CLASSES, DIFFERENTIAL, DYSPLASTIC_FROM, NEUTROPHIL, NORMAL_UP_TO
from cellnet.duplicates import connected
from cellnet.errors import CellnetError
from cellnet.manifest import BY_CELL, BY_SMEAR, COHORT_SPLITS, PROOF, Row, check_disjoint
from cellnet.stain import Stain, draw_stain, jitter_stain

__all__ = [
    "DYSPLASTIC_G",
    "NORMAL_G",
    "OTHER_SHARES",
    "SHARES",
    "Plan",
    "SmearTruth",
    "Source",
    "Version",
    "check_sets",
    "partition",
    "plan_versions",
]

TRAIN, VALIDATION = COHORT_SPLITS[:2]

NORMAL_G = (0.0, NORMAL_UP_TO)
DYSPLASTIC_G = (DYSPLASTIC_FROM, 1.0)

SHARES = {BY_CELL: 0.40, BY_SMEAR: 0.35, PROOF: 0.25}  # of the test neutrophils
OTHER_SHARES = {BY_CELL: 0.0, BY_SMEAR: 0.6, PROOF: 0.4}  # of the other cells: smears only


@dataclass(frozen=True)
class Plan:
    """How much is made.

    The thesis trains on 3,000 images a class after augmentation. The other proportions of its
    table 5.1 were not at hand: the defaults below, the halves of MDS and healthy smears and the
    shares of the test cells (`SHARES`, `OTHER_SHARES`) are this project's choice.

    Attributes:
        train_per_class: Images in train/normal and in train/dysplastic; each source cell gives as
            many versions as it takes, as equally as possible.
        validation_versions: Versions of each source cell and class in the validation set.
        by_cell_versions: The same in the test-by-cell set.
        smears: Smears in test-by-smear, the first half (rounded up) of them MDS.
        proof_smears: Smears in proof-of-concept, likewise.
        cells: Fewest and most cells of a smear.
        neutrophils: Smallest and largest share of neutrophils in a smear.
        mds: Smallest and largest dysplastic share of the neutrophils in an MDS smear.
        healthy: The same in a healthy smear.
        quality: Of every JPEG file.
    """

    train_per_class: int = 3000
    validation_versions: int = 2
    by_cell_versions: int = 1
    smears: int = 60
    proof_smears: int = 40
    cells: tuple[int, int] = (30, 100)
    neutrophils: tuple[float, float] = (0.5, 0.85)
    mds: tuple[float, float] = (0.15, 0.90)
    healthy: tuple[float, float] = (0.0, 0.05)
    quality: int = 95

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            CellnetError: When one cannot be.
        """
        for name in (
            "train_per_class",
            "validation_versions",
            "by_cell_versions",
            "smears",
            "proof_smears",
        ):
            if getattr(self, name) < 0:
                raise CellnetError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 2 <= self.cells[0] <= self.cells[1]:
            raise CellnetError(f"cells must be two rising numbers of 2 or more, got {self.cells}")
        for name in ("neutrophils", "mds", "healthy"):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 1:
                raise CellnetError(f"{name} must be two rising shares in [0, 1], got {low}, {high}")
        if not 1 <= self.quality <= 100:
            raise CellnetError(f"quality must be in [1, 100], got {self.quality}")


@dataclass(frozen=True)
class Version:
    """One image to be written."""

    path: str
    split: str
    smear: str
    g: float | None  # None: no neutrophil, its granules are left alone
    blur: float  # factor of the default sigma of `granularity.suppress`
    pallor: float  # its argument; varied, so that paleness alone does not tell the classes apart
    turn: int  # one of the eight of `duplicates.turned`
    stain: Stain


@dataclass
class Source:
    """A cell that can be used, and what is to be made of it."""

    row: Row
    key: str
    shape: tuple[int, int] = (0, 0)
    packed: bytes = b""  # the cytoplasm's mask, a bit a pixel
    versions: list[Version] = field(default_factory=list)


@dataclass(frozen=True)
class SmearTruth:
    """A row of truth.csv."""

    set: str
    smear: str
    diagnosis: str
    cells: int
    neutrophils: int
    dysplastic: int
    dysplastic_fraction: str


# --- which set a cell goes to ------------------------------------------------------------------


def partition(sources: Sequence[Source], seed: int) -> dict[str, list[Source]]:
    """Share the source cells out to the five sets; what belongs together stays together."""
    sets: dict[str, list[Source]] = {name: [] for name in COHORT_SPLITS}
    test = []
    for source in sources:
        if source.row.split == "test":
            test.append(source)
        else:
            sets[source.row.split].append(source)
    totals = Counter(source.row.label for source in test)
    missing = {
        name: {
            label: total * (SHARES if label == NEUTROPHIL else OTHER_SHARES)[name]
            for label, total in totals.items()
        }
        for name in SHARES
    }
    groups = _groups(test)
    _rng(seed, "partition").shuffle(groups)
    groups.sort(key=len, reverse=True)  # the large ones first, while every set has room
    for group in groups:
        size = Counter(source.row.label for source in group)
        gain = {
            name: sum(n * missing[name][label] / totals[label] for label, n in size.items())
            for name in SHARES
        }
        best = max(SHARES, key=lambda name: gain[name])
        sets[best].extend(group)
        for label, n in size.items():
            missing[best][label] -= n
    return sets


def _groups(sources: Sequence[Source]) -> list[list[Source]]:
    """Sources that share a patient, a smear or a source cell, through others too."""
    first: dict[tuple[str, str], int] = {}
    pairs = []
    for i, source in enumerate(sources):
        for value in (
            ("cell", source.key),
            ("patient", source.row.patient),
            ("smear", source.row.smear),
        ):
            if value[1]:
                pairs.append((first.setdefault(value, i), i))
    return [[sources[i] for i in group] for group in connected(len(sources), pairs)]


def check_sets(sources: Iterable[Source]) -> None:
    """Raise when a source cell, patient or smear, real or simulated, gives images to two sets."""
    made = [
        (replace(source.row, source_cell=source.key, split=version.split), version.smear)
        for source in sources
        for version in source.versions
    ]
    check_disjoint((row for row, _ in made), "the plan of the cohort")
    check_disjoint((replace(row, smear=smear) for row, smear in made), "the plan of the cohort")


# --- what is made of it ------------------------------------------------------------------------


def plan_versions(
    sets: dict[str, list[Source]], plan: Plan, seed: int, partial: bool = False
) -> tuple[list[SmearTruth], dict[str, str]]:
    """Give every source its versions, which are appended to it.

    Args:
        sets: The source cells of each set.
        plan: How much to make.
        seed: Of the cohort.
        partial: Leave out a test set that lacks cells instead of raising.

    Returns:
        The truth of the smears, and for each set that was left out the reason.

    Raises:
        CellnetError: When a set lacks cells.
    """
    truth: list[SmearTruth] = []
    not_made: dict[str, str] = {}
    real = {source.row.smear for found in sets.values() for source in found}
    work = {
        TRAIN: lambda found: _train(found, plan.train_per_class, seed),
        VALIDATION: lambda found: _versions(found, VALIDATION, plan.validation_versions, seed),
        BY_CELL: lambda found: _versions(found, BY_CELL, plan.by_cell_versions, seed),
        BY_SMEAR: lambda found: truth.extend(
            _smears(found, BY_SMEAR, _free("smear", real), plan.smears, plan, seed)
        ),
        PROOF: lambda found: truth.extend(
            _smears(found, PROOF, _free("proof", real), plan.proof_smears, plan, seed)
        ),
    }
    for name, make in work.items():
        try:
            make(sets[name])
        except CellnetError as error:
            if not partial or name in (TRAIN, VALIDATION):
                raise
            not_made[name] = str(error)
            for source in sets[name]:
                source.versions.clear()
    return truth, not_made


def _free(prefix: str, real: Iterable[str]) -> str:
    """What simulated smears are called: by another name where a real smear is called like them.

    Cells of the train, validation and test-by-cell sets keep the name of their real smear.
    """
    while any(name.startswith(f"{prefix}-") for name in real):
        prefix = f"simulated-{prefix}"
    return prefix


def _train(sources: Sequence[Source], per_class: int, seed: int) -> None:
    order = _neutrophils(sources, TRAIN, per_class)
    _rng(seed, TRAIN).shuffle(order)
    for i in range(per_class):
        _pair(order[i % len(order)], TRAIN, i // len(order), seed)


def _versions(sources: Sequence[Source], split: str, versions: int, seed: int) -> None:
    for source in _neutrophils(sources, split, versions):
        for i in range(versions):
            _pair(source, split, i, seed)


def _neutrophils(sources: Sequence[Source], split: str, wanted: int) -> list[Source]:
    found = [source for source in sources if source.row.label == NEUTROPHIL]
    if wanted and not found:
        raise CellnetError(
            f"the manifest has no usable neutrophil for the set '{split}'; give "
            "more cells or make none of that set"
        )
    return found


def _smears(
    sources: Sequence[Source], split: str, prefix: str, number: int, plan: Plan, seed: int
) -> list[SmearTruth]:
    deck = _Deck(sources, _rng(seed, split, "deck"))
    needs = (
        ("neutrophils", deck.neutrophils, plan.cells[1] * plan.neutrophils[1]),
        ("cells of other kinds", deck.others, plan.cells[1] * (1 - plan.neutrophils[0])),
    )
    for what, has, need in needs:
        if number and has < np.ceil(need - 1e-9):
            raise CellnetError(
                f"the smears of '{split}' have up to {plan.cells[1]} cells and need "
                f"{np.ceil(need - 1e-9):.0f} different {what}, and the manifest gives that set "
                f"{has}; give more test cells or make smaller smears or none"
            )
    diagnoses = ["mds"] * ((number + 1) // 2) + ["healthy"] * (number // 2)
    _rng(seed, split).shuffle(diagnoses)
    return [
        _smear(deck, split, f"{prefix}-{i:03d}", diagnosis, plan, seed)
        for i, diagnosis in enumerate(diagnoses, 1)
    ]


def _pair(source: Source, split: str, number: int, seed: int) -> None:
    """Add a normal and a dysplastic version of a source cell."""
    for kind, bounds in (("normal", NORMAL_G), ("dysplastic", DYSPLASTIC_G)):
        path = f"{split}/{kind}/{source.key[:16]}-{number}.jpg"
        rng = _rng(seed, path)
        _add(source, path, split, source.row.smear, bounds, draw_stain(rng), rng)


def _add(
    source: Source,
    path: str,
    split: str,
    smear: str,
    bounds: tuple[float, float] | None,
    stain: Stain,
    rng: np.random.Generator,
) -> None:
    g = None if bounds is None else round(float(rng.uniform(*bounds)), 4)
    source.versions.append(
        Version(
            path,
            split,
            smear,
            g,
            blur=float(rng.uniform(0.75, 1.5)),
            pallor=float(rng.uniform(0, 1)),
            turn=int(rng.integers(8)),
            stain=stain,
        )
    )


class _Deck:
    """Deals the cells of a set, by class, so that all are used equally and none twice a smear."""

    def __init__(self, sources: Sequence[Source], rng: np.random.Generator):
        self.rng = rng
        self.all: dict[str, list[Source]] = {label: [] for label in CLASSES}
        for source in sources:
            self.all[source.row.label].append(source)
        self.rest: dict[str, list[Source]] = {label: [] for label in CLASSES}
        self.neutrophils = len(self.all[NEUTROPHIL])
        self.others = sum(len(self.all[label]) for label in DIFFERENTIAL)

    def deal(self, label: str, number: int) -> list[Source]:
        """Give different cells of a class; the deck is shuffled anew when it runs out."""
        hand = self.rest[label][:number]
        self.rest[label] = self.rest[label][number:]
        if len(hand) < number:
            fresh = list(self.all[label])
            self.rng.shuffle(fresh)
            held = {source.key for source in hand}
            more = [s for s in fresh if s.key not in held][: number - len(hand)]
            taken = {source.key for source in more}
            self.rest[label] = [s for s in fresh if s.key not in taken]
            hand += more
        return hand


def _smear(deck: _Deck, split: str, name: str, diagnosis: str, plan: Plan, seed: int) -> SmearTruth:
    """Compose one smear: how many cells of which kinds, which of them dysplastic."""
    rng = _rng(seed, split, name)
    cells = int(rng.integers(plan.cells[0], plan.cells[1] + 1))
    number = int(np.clip(round(cells * rng.uniform(*plan.neutrophils)), 2, cells))
    low, high = plan.mds if diagnosis == "mds" else plan.healthy
    fewest, most = int(np.ceil(low * number - 1e-9)), int(np.floor(high * number + 1e-9))
    if fewest > most:
        raise CellnetError(
            f"no dysplastic share of {number} neutrophils lies in [{low}, {high}]; "
            "make the smears larger or the shares wider"
        )
    dysplastic = int(np.clip(round(number * rng.uniform(low, high)), fewest, most))
    hand = _hand(deck, cells, number, rng)
    is_dysplastic = np.zeros(number, bool)
    is_dysplastic[rng.permutation(number)[:dysplastic]] = True
    bounds = [DYSPLASTIC_G if d else NORMAL_G for d in is_dysplastic] + [None] * (cells - number)
    stain = draw_stain(rng)
    for place, i in enumerate(rng.permutation(cells), 1):
        path = f"{split}/{name}/cell-{place:03d}.jpg"
        own = _rng(seed, path)
        _add(hand[i], path, split, name, bounds[i], jitter_stain(stain, own), own)
    return SmearTruth(
        split, name, diagnosis, cells, number, dysplastic, f"{dysplastic / number:.6f}"
    )


def _hand(deck: _Deck, cells: int, neutrophils: int, rng: np.random.Generator) -> list[Source]:
    """Draw a smear's cells, the neutrophils first; the other kinds vary from smear to smear."""
    room = {label: len(deck.all[label]) for label in DIFFERENTIAL if deck.all[label]}
    labels = list(room)
    share = rng.dirichlet([20 * DIFFERENTIAL[label] for label in labels]) if labels else []
    taken: Counter[str] = Counter()
    for _ in range(cells - neutrophils):
        left = np.array(
            [
                p if taken[label] < room[label] else 0.0
                for label, p in zip(labels, share, strict=True)
            ]
        )
        if left.sum() <= 0:
            left = np.array([float(taken[label] < room[label]) for label in labels])
        taken[labels[int(rng.choice(len(labels), p=left / left.sum()))]] += 1
    hand = deck.deal(NEUTROPHIL, neutrophils)
    for label in labels:
        hand += deck.deal(label, taken[label])
    return hand


def _rng(seed: int, *key: str) -> np.random.Generator:
    """A generator of its own for each key, so that no order of work matters."""
    digest = hashlib.sha256("/".join(key).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], np.uint32).tolist()])
