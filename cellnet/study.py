"""The recipe of a study of candidates: one YAML file, data only (thesis, chapter 5).

A study trains several forms of one network on one cohort, drops those that learn nothing, trains
the others again to the end, chooses one on whole smears and tries it by cross-validation. This
module knows what such a file may say, and the recipe of each single run that follows from it.
Running it is left to ``selection``, dividing cells into folds to ``folds``.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from cellnet.cohort_plan import Plan
from cellnet.errors import CellnetError
from cellnet.operating_point import MINIMUM_NEUTROPHILS
from cellnet.recipe import Data, Recipe, Share, Strict, Training, View, read_recipe

__all__ = ["CHOICE", "FIRST", "SECOND", "CrossValidation", "Study", "read_study"]

FIRST, SECOND = "stage-1", "stage-2"

CHOICE = (
    "highest diagnostic accuracy on the smears of test-by-smear; of equals the higher AUC by "
    "smear, then the higher accuracy by cell, then fewer parameters"
)

Argument = int | float | bool | str


class FirstStage(Strict):
    """A short training of every candidate, and when one of them goes on.

    Attributes:
        epochs: Epochs of each candidate; there is no stop rule here.
        per_class: Images that each class gives to an epoch; null for as many as later.
        seed: Seed of weights, order and augmentation; another than that of ``training``, so that
            the second stage begins anew and does not repeat these epochs.
        chance: Balanced accuracy of guessing.
        margin: A candidate is dropped unless the upper end of the 95 % interval of its best
            epoch's balanced validation accuracy is above chance by more than this.
    """

    epochs: int = Field(gt=0)
    per_class: int | None = Field(default=None, gt=0)
    seed: int = Field(ge=0)
    chance: float = Field(gt=0, lt=1)
    margin: float = Field(ge=0, lt=1)

    @property
    def rule(self) -> str:
        """The rule in words."""
        return (
            "a candidate is dropped where the 95 % interval of the balanced validation accuracy "
            f"(the mean of both kinds') of its best epoch of {self.epochs} lies at or below "
            f"{100 * (self.chance + self.margin):g} % "
            f"(chance, {100 * self.chance:g} %, and a margin of {100 * self.margin:g} points)"
        )


class Division(Strict):
    """One way to divide the cells.

    Attributes:
        folds: Number of folds.
        by: ``group`` keeps a patient, a smear and a source cell in one fold; ``image`` deals out
            single images, as the thesis did, so that versions of one cell train and test.
    """

    folds: int = Field(ge=2)
    by: Literal["group", "image"]

    @property
    def name(self) -> str:
        """What the division is called, such as ``5-fold`` and ``5-fold-by-image``."""
        return f"{self.folds}-fold" + ("-by-image" if self.by == "image" else "")


class CrossValidation(Strict):
    """Cross-validation of the chosen candidate over the cohort's train and validation cells.

    Attributes:
        epochs: Epochs of each fold's network at most.
        per_class: Images that each class gives to an epoch; null for as many as in training.
        stop_at: Accuracy on the fold's own validation cells at which its training ends, or null.
        validation: Share of the cells outside of a fold that choose the epoch and train nothing;
            1 divided by a whole number, since they are dealt out in equal parts.
        seed: Seed of the folds.
        divisions: Ways to divide the cells.
    """

    epochs: int = Field(gt=0)
    per_class: int | None = Field(default=None, gt=0)
    stop_at: Share | None
    validation: float = Field(gt=0, le=0.5)
    seed: int = Field(ge=0)
    divisions: list[Division] = Field(min_length=1)

    @field_validator("validation")
    @classmethod
    def _one_part(cls, value: float) -> float:
        # Half a point is what 0.33 and 0.17 need to stand for a third and a sixth.
        if abs(value - 1 / round(1 / value)) > 0.005:
            raise ValueError(
                "validation must be 1 divided by a whole number (0.5, 0.33, 0.25, 0.2, 0.1), "
                f"within half a point, got {value:g}"
            )
        return value

    @model_validator(mode="after")
    def _different(self) -> CrossValidation:
        names = [division.name for division in self.divisions]
        if len(set(names)) < len(names):
            raise ValueError(f"divisions must differ, got {', '.join(names)}")
        return self


class Published(Strict):
    """What the literature reports, to stand beside what is measured; only what is known.

    Attributes:
        source: Where the numbers are from.
        parameters: Of each candidate.
        dropped: Candidates that went no further than the first stage.
        chosen: The candidate chosen.
        by_cell: By candidate: ``cutoff``, ``auc``, ``sensitivity``, ``specificity``, ``accuracy``.
        by_smear: By candidate: ``threshold``, ``auc``, ``accuracy``.
        proof_of_concept: ``sensitivity``, ``specificity``, ``precision``, ``accuracy``.
    """

    source: str
    parameters: dict[str, int] = {}
    dropped: list[str] = []
    chosen: str | None = None
    by_cell: dict[
        str, dict[Literal["cutoff", "auc", "sensitivity", "specificity", "accuracy"], float]
    ] = {}
    by_smear: dict[str, dict[Literal["threshold", "auc", "accuracy"], float]] = {}
    proof_of_concept: dict[
        Literal["sensitivity", "specificity", "precision", "accuracy"], float
    ] = {}


class Study(Strict):
    """A whole study.

    Attributes:
        name: Of the study.
        source: The publication that it follows.
        bundle: Name of the bundle that the winner becomes.
        version: Of that bundle.
        licence: Of its weights.
        network: The network of which the candidates are forms.
        candidates: The builder's arguments by the name of the candidate.
        data: As in the recipe of a training.
        cohort: How much is simulated, beside ``data.simulated_per_class``: see
            ``cellnet.cohort_plan.Plan``. Without effect where the data are a cohort already.
        minimum_neutrophils: Smears with fewer take no part and get no decision.
        classifier: The model that names the neutrophils of smears, or ``none``.
        views: As in the recipe of a training.
        first_stage: The short training.
        training: The second stage, and all that the stages share.
        cross_validation: Of the winner, or null.
        published: What the literature reports, or null.
    """

    command: ClassVar[str] = "select"

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    source: str
    bundle: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str = Field(default="0.0.0", pattern=r"^\d+\.\d+\.\d+$")
    licence: str = "not stated"
    network: Literal["dysplasianet"]
    candidates: dict[str, dict[str, Argument]] = Field(min_length=1)
    data: Data
    cohort: dict[str, Any] = {}
    minimum_neutrophils: int = Field(default=MINIMUM_NEUTROPHILS, ge=1)
    classifier: str = "model1"
    views: list[View] = Field(min_length=1)
    first_stage: FirstStage
    training: Training
    cross_validation: CrossValidation | None
    published: Published | None = None

    @field_validator("candidates")
    @classmethod
    def _names(cls, value: dict[str, dict[str, Argument]]) -> dict[str, dict[str, Argument]]:
        for name in value:
            # They name folders, on file systems that may not tell capitals from small letters too.
            if not name.isascii() or not name.isalnum():
                raise ValueError(f"a candidate's name has letters and digits alone, got '{name}'")
        if len({name.lower() for name in value}) < len(value):
            raise ValueError(f"candidates must differ in more than capitals, got {list(value)}")
        return value

    @field_validator("cohort")
    @classmethod
    def _plan(cls, value: dict[str, Any]) -> dict[str, Any]:
        known = {column.name for column in fields(Plan)} - {"train_per_class"}
        unknown = sorted(set(value) - known)
        if unknown:
            raise ValueError(f"{unknown[0]} is unknown; valid are {', '.join(sorted(known))}")
        try:
            plan = Plan(**{key: _tuple(found) for key, found in value.items()})
        except (CellnetError, TypeError) as error:
            raise ValueError(str(error)) from error
        return {key: _list(found) for key, found in asdict(plan).items() if key in known}

    @model_validator(mode="after")
    def _seeds(self) -> Study:
        if self.data.left_out:
            raise ValueError("data.left_out is for networks that name classes; leave it out")
        if self.first_stage.seed == self.training.seed:
            raise ValueError(
                "first_stage.seed and training.seed must differ: the second stage begins from "
                "scratch, and with one seed it would repeat the first"
            )
        return self

    def plan(self) -> Plan:
        """How much of a cohort is simulated."""
        return Plan(
            train_per_class=self.data.simulated_per_class,
            **{key: _tuple(value) for key, value in self.cohort.items()},
        )

    def run_of(self, candidate: str, stage: str) -> Recipe:
        """The recipe of one candidate's run.

        Args:
            candidate: Its name.
            stage: ``stage-1``, ``stage-2``, or ``cross-validation``.
        """
        changed: dict[str, Any] = {}
        per_class = None
        if stage == FIRST:
            first, per_class = self.first_stage, self.first_stage.per_class
            changed = {"epochs": first.epochs, "stop_at": None, "seed": first.seed}
        elif stage != SECOND:
            folds, per_class = self.cross_validation, self.cross_validation.per_class
            changed = {"epochs": folds.epochs, "stop_at": folds.stop_at}
        return Recipe.model_validate(
            {
                "name": self.bundle,
                "source": f"{self.source}, candidate {candidate}",
                "version": self.version,
                "licence": self.licence,
                "target": "granularity",
                "network": {"name": self.network, "arguments": self.candidates[candidate]},
                "data": {
                    **self.data.model_dump(),
                    "per_class": per_class or self.data.per_class,
                },
                "views": [view.model_dump() for view in self.views],
                "training": {**self.training.model_dump(), **changed},
            }
        )


def read_study(path: str | Path) -> Study:
    """Read and check the recipe of a study.

    Raises:
        CellnetError: As `cellnet.recipe.read_recipe`.
    """
    return read_recipe(path, Study)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
