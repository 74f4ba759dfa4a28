"""Recipes: one YAML file for each experiment, data only.

A recipe names the network, the data, the ways an image may be seen, and how long and how fast to
train. Every key is checked, and one that is unknown is an error, so a misspelt option cannot
silently do nothing. The resolved recipe goes into the run folder and into the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cellnet.augment import View as AugmentView
from cellnet.bundle import class_names_fault
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.errors import CellnetError
from cellnet.networks import BUILDERS
from cellnet.outputs import write_text

__all__ = ["Recipe", "command_of", "read_recipe", "write_recipe"]

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
        left_out: Classes that give no image, neither to train with nor to choose the epoch by, and
            none that is simulated or drawn: cells that the network then has never seen (section
            6.4). It keeps an output for each. Only where the eight classes are the target.
    """

    adapter: Literal["pbc", "folder"]
    seed: int = Field(ge=0)
    per_class: int = Field(gt=0)
    hypogranulated: Share = 0.0
    simulated_per_class: int = Field(default=3000, gt=0)
    drawn: Share = 0.0
    drawn_per_class: int = Field(default=0, ge=0)
    left_out: tuple[Literal[CLASSES], ...] = ()


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
        classes: The classes of a specialist network, by name the labels or sub-types that each is
            made of; a list stands for classes that are one label or sub-type each. None for the
            eight of Model 1.
        of: The class of Model 1 whose cells the specialist is for; None for any.
    """

    command: ClassVar[str] = "train"

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    source: str
    version: str = Field(default="0.0.0", pattern=r"^\d+\.\d+\.\d+$")
    licence: str = "not stated"
    target: Literal["class", "granularity"]
    classes: dict[str, list[str]] | None = None
    of: Literal[CLASSES] | None = None
    network: Network
    data: Data
    views: list[View] = Field(min_length=1)
    training: Training

    @model_validator(mode="before")
    @classmethod
    def _explicit(cls, content: Any) -> Any:
        """Write out what a short recipe leaves to be understood."""
        if not isinstance(content, dict) or not isinstance(content.get("classes"), (dict, list)):
            return content
        classes, network = content["classes"], content.get("network")
        if isinstance(classes, list):
            if len({str(name) for name in classes}) < len(classes):
                raise ValueError(f"classes: each once, got {', '.join(map(str, classes))}")
            classes = {str(name): [name] for name in classes}
        else:
            # A single label need not stand in brackets.
            classes = {
                name: [members] if isinstance(members, str) else members
                for name, members in classes.items()
            }
        content = {**content, "classes": classes}
        if isinstance(network, dict) and isinstance(network.get("arguments", {}), dict):
            arguments = {"classes": len(classes), **(network.get("arguments") or {})}
            content["network"] = {**network, "arguments": arguments}
        return content

    @model_validator(mode="after")
    def _specialist(self) -> Recipe:
        """Check what goes with classes of one's own, and what does not."""
        if self.classes is None:
            if self.of is not None:
                raise ValueError("of is for a specialist network; give its classes too")
            return self
        if self.target != "class":
            raise ValueError("classes go with the target class")
        fault = class_names_fault(list(self.classes))
        if fault:
            raise ValueError(f"classes: {fault}")
        if set(self.classes) == set(CLASSES):
            raise ValueError("classes: these are Model 1's eight; leave them out")
        members = [member for group in self.classes.values() for member in group]
        if not all(self.classes.values()) or any(not member.strip() for member in members):
            raise ValueError("classes: each is made of one label or sub-type, or more")
        if len({member.lower() for member in members}) < len(members):
            raise ValueError("classes: a label or sub-type can be in one of them alone")
        if self.network.arguments.get("classes") != len(self.classes):
            raise ValueError(
                f"network.arguments.classes is {self.network.arguments.get('classes')}, but the "
                f"recipe names {len(self.classes)} classes; leave it out"
            )
        if self.data.hypogranulated or self.data.drawn:
            raise ValueError(
                "data.hypogranulated and data.drawn are for the eight classes; leave them out"
            )
        return self

    @model_validator(mode="after")
    def _leaves_enough(self) -> Recipe:
        """Check that what is left out can be, and that something is left."""
        left_out = self.data.left_out
        if left_out and (self.target != "class" or self.classes is not None):
            raise ValueError(
                "data.left_out is for the eight classes of the target class, got "
                f"{', '.join(left_out)}; leave it out"
            )
        if len(set(left_out)) < len(left_out) or len(left_out) > len(CLASSES) - 2:
            raise ValueError(
                "data.left_out names each class once and leaves two or more to learn, got "
                f"{', '.join(left_out)}"
            )
        if self.data.hypogranulated and NEUTROPHIL in left_out:
            raise ValueError(
                f"data.hypogranulated is {self.data.hypogranulated:g}, but data.left_out names "
                f"{NEUTROPHIL}; leave one of them out"
            )
        return self

    def augment_views(self) -> list[AugmentView]:
        """The views as the augmentation takes them."""
        return [AugmentView(**view.model_dump()) for view in self.views]


def command_of(content: Any) -> str | None:
    """Tell from its keys which command a recipe is for: ``train``, ``select`` or ``transfer``.

    Args:
        content: What the YAML holds.

    Returns:
        The command; None where the keys are those of no recipe.
    """
    if isinstance(content, dict):
        if content.get("kind") in ("features-svm", "fine-tuning"):
            return "transfer"
        for key, command in (("candidates", "select"), ("target", "train")):
            if key in content:
                return command
    return None


def read_recipe(path: str | Path, kind: type[Kind] = Recipe) -> Kind:
    """Read and check a recipe.

    Args:
        path: The YAML file.
        kind: What it describes: one training, or a study that has a recipe of its own.

    Raises:
        CellnetError: The file cannot be read, is no YAML, or a key is missing, unknown or out of
            range; the message names the key. Or it is a recipe for another command.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CellnetError(f"cannot read the recipe {path}: {error}") from error
    except yaml.YAMLError as error:
        message = " ".join(str(error).split())
        raise CellnetError(f"the recipe {path} is no valid YAML: {message}") from error
    meant, own = command_of(content), getattr(kind, "command", None)
    if own is not None and meant not in (own, None):
        raise CellnetError(
            f"the recipe {path} is one for 'cellnet {meant}', not for 'cellnet {own}'; "
            f"run: cellnet {meant} {path}"
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_told(problem, kind) for problem in error.errors())
        raise CellnetError(f"the recipe {path} does not hold: {problems}") from error


def _told(problem: Mapping[str, Any], kind: type[BaseModel]) -> str:
    """What pydantic found, in words for whoever wrote the recipe."""
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown_key(problem["loc"], kind)
    if problem["type"] == "model_type":
        what = "it is empty" if problem["input"] is None else "it holds no keys"
        return f"{place}: {what}" if place else what
    return f"{place or 'recipe'}: {problem['msg']}"


def _unknown_key(place: Sequence[str | int], kind: type[BaseModel]) -> str:
    """Name the key that was meant, or all that there are."""
    *parents, wrong = place
    for part in parents:
        if part in kind.model_fields:
            kind = _part_in(kind.model_fields[part].annotation) or kind
    near = get_close_matches(str(wrong), kind.model_fields, 1)
    told = (
        f"did you mean {near[0]}?" if near else f"the keys there are {', '.join(kind.model_fields)}"
    )
    return f"{'.'.join(map(str, place))} is no key of it; {told}"


def _part_in(annotation: Any) -> type[BaseModel] | None:
    """The part of a recipe that a type is of, such as the view in a list of views."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_part_in, get_args(annotation))), None)


def write_recipe(recipe: BaseModel, path: Path) -> None:
    """Write a resolved recipe of any kind, every value explicit.

    Raises:
        CellnetError: It cannot be written; what stood there stays.
    """
    write_text(path, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
