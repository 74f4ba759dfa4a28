"""Smears, one or a cohort of them: folders in, reports out.

Here the files of a folder, both networks and the smear's arithmetic meet. A cohort streams: a
smear's line is written when its last cell is read, while cells of the next are under way already,
so that memory does not grow and the cores do not wait. The rules of the decision are in ``smear``,
the file of results in ``results``, the text and pages made of a report in ``report``.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from cellnet.appearance import find_copies, look_warnings
from cellnet.bundle import Bundle, Source, as_bundle
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.images import read_bytes
from cellnet.listing import (
    EXTENSIONS,
    Listing,
    check_some,
    find_images,
    name_below,
    told_passed_over,
)
from cellnet.operating_point import OperatingPoint
from cellnet.results import CONTENTS, ResultsFile, of_contents, of_files
from cellnet.scoring import CellReader, Reading, in_order, progress_bar
from cellnet.smear import DECISIONS, CellRow, SmearReport, judge
from cellnet.specialists import Declared, declared

__all__ = ["CohortSummary", "SmearReader", "predict_smears"]

log = logging.getLogger(__name__)


class SmearReader:
    """All networks with the operating point, loaded once for any number of smears.

    Attributes:
        cells: The networks on one file.
        specialists: Who else is asked about the cells of a class.
        point: Cut-off, threshold and minimum of neutrophils.
        models: Name, version and weights' hash of each, as they stand in a report.
        cautions: Warnings that stand in every report.
    """

    def __init__(
        self,
        model1: Source = "model1",
        dysplasianet: Source | None = None,
        *,
        specialists: Declared | None = None,
        cutoff: float | None = None,
        threshold: float | None = None,
        min_neutrophils: int | None = None,
    ):
        naming = as_bundle(model1).require_eight()
        found = declared(naming, specialists, dysplasianet)
        scoring = found.granularity
        self.cells = CellReader(naming, scoring, found.others)
        self.specialists = tuple(one for one, _ in found.others)
        self.point = scoring.operating_point(cutoff, threshold, min_neutrophils)
        self.cautions = _cautions(self.point, naming, threshold)
        self.models = {
            "model1": naming.identity(),
            "dysplasianet": scoring.identity(),
            **{one.name: bundle.identity() for one, bundle in found.others},
        }

    def report(
        self, name: str, listing: Listing, readings: Sequence[Reading | UnreadableImage]
    ) -> SmearReport:
        """Judge a smear whose files have all been read.

        Args:
            name: The smear's name.
            listing: What was found in its folder.
            readings: For each of the listing's files, in order.

        Raises:
            CellnetError: No image could be read.
        """
        unreadable = [
            {"file": name_below(listing.folder, Path(error.path)), "reason": error.reason}
            for error in (*listing.unreadable, *readings)
            if isinstance(error, UnreadableImage)
        ]
        check_some(listing, unreadable)
        rows, looks = [], []
        for file, reading in zip(listing.files, readings, strict=True):
            if isinstance(reading, Reading):
                rows.append(
                    CellRow.of(
                        listing.relative(file),
                        reading.probabilities,
                        reading.granularity,
                        self.point.cutoff,
                        reading.specialists,
                    )
                )
                looks.append(reading.look)
        files = [row.file for row in rows]
        warnings = look_warnings(files, [row.label for row in rows], looks)
        return judge(
            name,
            rows,
            self.point,
            models=self.models,
            unreadable=unreadable,
            warnings=[*self.cautions, *warnings, *told_passed_over(listing)],
            copies=find_copies(files, looks),
            specialists=self.specialists,
        )


@dataclass
class CohortSummary:
    """How a run over a cohort ended.

    Attributes:
        decisions: How many smears of this run got which decision.
        borderline: How many of the decided ones are borderline.
        failed: The error of each smear that could not be judged, by its name.
        present: How many smears were in the file already.
        warnings: What was noticed about the cohort as a whole.
    """

    decisions: Counter[str] = field(default_factory=Counter)
    borderline: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    present: int = 0
    warnings: list[str] = field(default_factory=list)

    def told(self, out: str | os.PathLike[str]) -> str:
        """Say for people how the run ended, in one line."""
        total = sum(self.decisions.values())
        detail = ", ".join(
            f"{self.decisions[name]} {name}" for name in DECISIONS if self.decisions[name]
        )
        line = f"{total} smear{'' if total == 1 else 's'} judged"
        line += f" ({detail}; {self.borderline} borderline)" if total else ""
        if self.present:
            line += f", {self.present} were there already"
        if self.failed:
            line += f", {len(self.failed)} could not be judged"
        return f"{line}; reports in {os.fspath(out)}"


def predict_smears(
    cohort: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model1: Source = "model1",
    dysplasianet: Source | None = None,
    specialists: Declared | None = None,
    cutoff: float | None = None,
    threshold: float | None = None,
    min_neutrophils: int | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> CohortSummary:
    """Judge a cohort: one sub-folder a smear, one report a line.

    Each line is written when its smear is done, so an interrupted run goes on where it stopped:
    smears with a report in `out` are passed over, those with an error are tried again. A report is
    bound to names and contents of its images: of others it is never handed out. A smear that cannot
    be judged gets a line with the schema ``cellnet/smear-error/1``. Memory does not grow with the
    number of images.

    Args:
        cohort: The folder of the smears' folders.
        out: The file of JSON lines.
        model1: As `predict_smear`, like all that follow.
        dysplasianet: See there.
        specialists: See there.
        cutoff: See there.
        threshold: See there.
        min_neutrophils: See there.
        threads: See there.
        progress: See there.

    Returns:
        How many smears got which decision, and which failed.

    Raises:
        CellnetError: There is no such folder or no sub-folder in it, a model or the operating point
            is missing, `out` cannot be written, is being written by another run, holds something
            else, was begun with other models or another operating point, or holds the report of a
            smear of that name with other images.
    """
    cohort, out = Path(cohort), Path(out)
    summary = CohortSummary()
    names = _smear_names(cohort, out, summary)
    reader = SmearReader(
        model1,
        dysplasianet,
        specialists=specialists,
        cutoff=cutoff,
        threshold=threshold,
        min_neutrophils=min_neutrophils,
    )
    made_with = {
        "models": reader.models,
        # The networks are those of `models`; this says which class's cells each was asked about.
        "specialists": {one.name: one.of for one in reader.specialists},
        "cutoff": reader.point.cutoff,
        "threshold": reader.point.threshold,
        "min_neutrophils": reader.point.minimum_neutrophils,
    }
    with ResultsFile(out, made_with) as results:
        _check_same_images(cohort, names, results, threads, progress)
        left = [name for name in names if name not in results.done]
        summary.present = len(names) - len(left)
        with closing(_read_smears(reader, cohort, left, threads)) as answers:
            title = "smears" if progress else None
            for name, answer, contents in progress_bar(answers, title, len(left), unit="smear"):
                if isinstance(answer, SmearReport):
                    results.append({**answer.to_dict(), CONTENTS: contents})
                    summary.decisions[answer.decision] += 1
                    summary.borderline += answer.confidence == "borderline"
                else:
                    results.append_error(name, str(answer))
                    summary.failed[name] = str(answer)
                    log.warning("smear %s: %s", name, answer)
    return summary


def _cautions(point: OperatingPoint, naming: Bundle, threshold: float | None) -> list[str]:
    """Say where the smear threshold is used under other conditions than it was fitted under."""
    found = [
        f"the {what} was fitted on {seen['train']} cells that trained the network, so it flatters "
        "itself; fit it again on others with 'cellnet calibrate'"
        for what, fit in (("cell cut-off", point.cell), ("smear threshold", point.smear))
        if (seen := (fit and fit.fitted_on.get("seen")) or {}).get("train")
    ]
    left_out = naming.description.get("data", {}).get("left_out")
    if left_out:
        found.append(
            f"{naming.name} was trained without {', '.join(left_out)}: such a cell is called "
            "something else"
        )
    if threshold is not None:
        return found
    if point.smear is None:
        return [
            *found,
            f"the cell cut-off {point.cutoff:g} was given by hand, and the smear threshold was "
            "fitted with another; give a threshold too",
        ]
    fitted = point.smear.fitted_on.get("classifier") or {}
    if fitted.get("sha256", naming.sha256) != naming.sha256:
        return [
            *found,
            f"the smear threshold was fitted on cells named by {fitted.get('name')} "
            f"{fitted.get('version')} ({fitted['sha256'][:12]}), not by {naming.name} "
            f"{naming.version} ({naming.sha256[:12]}); fit it again with 'cellnet calibrate'",
        ]
    return found


def _check_same_images(
    cohort: Path, names: Sequence[str], results: ResultsFile, threads: int | None, progress: bool
) -> None:
    """Check that the reports that are there are of the images that the folders hold.

    Smears of two cohorts are often called the same, and so are their images; others come late.
    """
    done = [name for name in names if name in results.done]

    def check(name: str) -> bool:
        listing, known = find_images(cohort / name), results.done[name]
        if of_files(_named(listing)) != known.names:
            return False
        if known.contents is None:
            return True
        hashes = (_hash_of(_bytes_of(file)) for file in listing.files)
        return _contents_of(listing, hashes) == known.contents

    title = "checking" if progress else None
    with closing(in_order(check, done, threads)) as answers:
        for name, is_same in progress_bar(answers, title, len(done), unit="smear"):
            if not is_same:
                raise CellnetError(
                    f"the report of {name} in {results.file} was made of other images than "
                    f"{cohort / name} holds (names and contents are compared); choose another --out"
                )


def _named(listing: Listing) -> list[str]:
    """Name what a report has to account for: images, then folders that could not be listed."""
    files = [listing.relative(file) for file in listing.files]
    return files + [name_below(listing.folder, Path(it.path)) for it in listing.unreadable]


def _contents_of(listing: Listing, hashes: Iterable[str]) -> str:
    """Bind a report to names and contents; `hashes` are those of the listing's files, in order."""
    return of_contents(dict(zip_longest(_named(listing), hashes, fillvalue="")))


def _bytes_of(file: Path) -> bytes | UnreadableImage:
    try:
        return read_bytes(file)
    except UnreadableImage as error:
        return error


def _hash_of(data: bytes | UnreadableImage) -> str:
    return "" if isinstance(data, UnreadableImage) else hashlib.sha256(data).hexdigest()


@dataclass
class _Open:
    """A smear whose files are under way."""

    name: str
    listing: Listing | None = None
    error: CellnetError | None = None
    readings: list[Reading | UnreadableImage] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return self.listing is None or len(self.readings) == len(self.listing.files)

    @property
    def contents(self) -> str:
        return _contents_of(self.listing, self.hashes) if self.listing else ""

    def close(self, reader: SmearReader) -> SmearReport | CellnetError:
        if self.listing is None:
            return self.error or CellnetError("it was not read")
        try:
            return reader.report(self.name, self.listing, self.readings)
        except CellnetError as error:
            return error


def _read_smears(
    reader: SmearReader, cohort: Path, names: Sequence[str], threads: int | None
) -> Iterator[tuple[str, SmearReport | CellnetError, str]]:
    """Read smears one after the other; files of the next are begun while the last are under way.

    Yields:
        Name, answer, and what binds it to the contents of the images.
    """

    def files() -> Iterator[tuple[_Open, Path | None]]:
        for name in names:
            try:
                smear = _Open(name, find_images(cohort / name))
            except CellnetError as error:
                smear = _Open(name, error=error)
            listed = smear.listing.files if smear.listing else []
            # A smear without files still has to pass by, in its turn.
            yield from ((smear, file) for file in listed or [None])

    def read(item: tuple[_Open, Path | None]) -> tuple[Reading | UnreadableImage, str] | None:
        file = item[1]
        if file is None:
            return None
        data = _bytes_of(file)
        reading = data if isinstance(data, UnreadableImage) else reader.cells.read(data, file)
        return reading, _hash_of(data)

    with closing(in_order(read, files(), threads)) as answers:
        for (smear, _), answer in answers:
            if answer is not None:
                smear.readings.append(answer[0])
                smear.hashes.append(answer[1])
            if smear.is_complete:
                yield smear.name, smear.close(reader), smear.contents


def _smear_names(cohort: Path, out: Path, summary: CohortSummary) -> list[str]:
    """Names of the cohort's sub-folders; what else stands there, but `out`, is counted and told."""
    if not cohort.is_dir():
        what = "is not a folder" if cohort.exists() else "does not exist"
        raise CellnetError(f"the cohort {cohort} {what}; give a folder with one folder a smear")
    names: list[str] = []
    others: Counter[str] = Counter()
    own = out.resolve()
    try:
        for entry in os.scandir(cohort):
            if entry.name.startswith("."):
                others["hidden"] += 1
            elif entry.is_dir():
                names.append(entry.name)
            elif Path(entry.name).suffix.lower() in EXTENSIONS:
                others["images"] += 1
            elif Path(entry.path).resolve() != own:
                others["other files"] += 1
    except OSError as error:
        raise CellnetError(f"cannot list the cohort {cohort}: {error.strerror}") from error
    images = others.pop("images", 0)
    if not names:
        held = f"holds {images} images but no folder" if images else "holds no folder"
        raise CellnetError(
            f"the cohort {cohort} {held}: it needs one folder a smear; "
            "'cellnet predict-smear' judges a single one"
        )
    if images:
        summary.warnings.append(
            f"{images} images stand in {cohort} itself and belong to no smear; they were not read"
        )
    if others:
        detail = ", ".join(f"{number} {kind}" for kind, number in sorted(others.items()))
        summary.warnings.append(f"passed over in {cohort} itself: {detail}")
    for warning in summary.warnings:
        log.warning("%s", warning)
    return sorted(names)
