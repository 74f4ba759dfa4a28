"""Recipes: one YAML file for each experiment, data only.

A recipe names the network, the data, the ways an image may be seen, and how long and how fast to
train. Every key is checked, and one that is unknown is an error, so a misspelt option cannot
silently do nothing. The resolved recipe goes into the run folder and into the bundle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cellnet.augment import View as AugmentView
from cellnet.errors import CellnetError
from cellnet.networks import BUILDERS

__all__ = ["Recipe", "read_recipe", "write_recipe"]

Share = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]
Kind = TypeVar("Kind", bound=BaseModel)


class Strict(BaseModel):
    """A part of a recipe: unknown keys are refused, and nothing is changed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(Strict):
    """The network, by its name in ``cellnet.networks``, and the builder's arguments."""

    name: Literal[tuple(BUILDERS)]
    arguments: dict[str, int | float | bool | str | list[int]] = {}


class Data(Strict):
    """What the network learns from.

    Attributes:
        adapter: How a folder without a manifest is read.
        seed: Seed of the splits, of the simulated sets and of the drawn cells.
        per_class: Images that each class gives to an epoch.
        hypogranulated: Share of the neutrophils whose granules were removed (section 6.2.1); only
            where classes are the target.
        simulated_per_class: Simulated training neutrophils with, and as many without, granules.
        drawn: Share of each class that is drawn from nothing.
        drawn_per_class: Drawn cells of each class to choose from.
    """

    adapter: Literal["pbc", "folder"]
    seed: int = Field(ge=0)
    per_class: int = Field(gt=0)
    hypogranulated: Share = 0.0
    simulated_per_class: int = Field(default=3000, gt=0)
    drawn: Share = 0.0
    drawn_per_class: int = Field(default=0, ge=0)


class View(Strict):
    """A way of looking at a cell; see ``cellnet.augment.View``."""

    share: float = Field(gt=0)
    zoom: Range = (1.0, 1.0)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    gain: float = Field(default=0.0, ge=0, lt=1)
    gamma: Range = (1.0, 1.0)
    hue: float = Field(default=0.0, ge=0, le=180)
    saturation: Range = (1.0, 1.0)
    blur: Range = (0.0, 0.0)
    noise: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> View:
        for name in ("zoom", "gamma", "saturation", "blur"):
            low, high = getattr(self, name)
            if low > high or low < 0 or (low == 0 and name in ("zoom", "gamma")):
                raise ValueError(
                    f"{name} must be [lowest, highest] and positive, got {[low, high]}"
                )
        return self


class Training(Strict):
    """How to train.

    Attributes:
        epochs: Epochs at most.
        batch: Images in a batch.
        precision: Keras dtype policy.
        learning_rate: Adam's rate; its peak with the cosine schedule.
        schedule: ``constant``, or ``cosine`` from the peak to zero over all epochs.
        warmup_epochs: Epochs of linear rise to the peak, with the cosine schedule.
        label_smoothing: Share of the target given to all classes alike.
        monitor: Validation figure whose best epoch is kept.
        stop_at: Validation accuracy at which training ends (section 5.3.3), or null.
        seed: Seed of the weights, of the order of images and of the augmentation.
    """

    epochs: int = Field(gt=0)
    batch: int = Field(gt=0)
    precision: Literal["float32", "mixed_bfloat16"]
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "cosine"]
    warmup_epochs: float = Field(default=0, ge=0)
    label_smoothing: float = Field(default=0, ge=0, lt=1)
    monitor: Literal["val_accuracy", "val_balanced_accuracy"]
    stop_at: Share | None = None
    seed: int = Field(ge=0)


class Recipe(Strict):
    """A whole experiment.

    Attributes:
        name: Of the experiment and of the bundle that comes of it.
        source: The publication that it follows.
        version: Of the bundle; whoever trains weights says which they are.
        licence: Of the bundle's weights.
        target: What the network answers with: one of the classes, or a granularity score.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    source: str
    version: str = Field(default="0.0.0", pattern=r"^\d+\.\d+\.\d+$")
    licence: str = "not stated"
    target: Literal["class", "granularity"]
    network: Network
    data: Data
    views: list[View] = Field(min_length=1)
    training: Training

    def augment_views(self) -> list[AugmentView]:
        """The views as the augmentation takes them."""
        return [AugmentView(**view.model_dump()) for view in self.views]


def read_recipe(path: str | Path, kind: type[Kind] = Recipe) -> Kind:
    """Read and check a recipe.

    Args:
        path: The YAML file.
        kind: What it describes: one training, or a study that has a recipe of its own.

    Raises:
        CellnetError: The file cannot be read, is no YAML, or a key is missing, unknown or out of
            range; the message names the key.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CellnetError(f"cannot read the recipe {path}: {error}") from error
    except yaml.YAMLError as error:
        message = " ".join(str(error).split())
        raise CellnetError(f"the recipe {path} is no valid YAML: {message}") from error
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'recipe'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise CellnetError(f"the recipe {path} does not hold: {problems}") from error


def write_recipe(recipe: BaseModel, path: Path) -> None:
    """Write a resolved recipe of any kind, every value explicit."""
    path.write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8"
    )
