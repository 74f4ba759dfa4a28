"""The recipes of transfer learning: networks that others have trained, put to use on blood cells.

Two kinds of experiment (thesis, chapters 2 and 4): ``features-svm`` takes features of networks as
they are and lets support vector machines decide; ``fine-tuning`` trains the last blocks of networks
on. This module knows what such a file may say. Running it is left to ``svm_study`` and
``finetuning_study``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.recipe import Recipe, Strict, Training, View, command_of, read_recipe

__all__ = [
    "FEATURES_SVM",
    "FINE_TUNING",
    "FineTuning",
    "SvmStudy",
    "TransferRecipe",
    "read_transfer",
]

FEATURES_SVM, FINE_TUNING = "features-svm", "fine-tuning"

Argument = int | float | bool | str


class TransferData(Strict):
    """Which cells.

    Attributes:
        adapter: How a folder without a manifest is read.
        seed: Of its division into sides.
        per_class: At most so many cells of each class, chosen by the seed; null for all. Of
            ``features-svm`` alone.
        also: Classes beside the eight that the folder has sub-folders for, such as ``smudge``.
    """

    adapter: Literal["pbc", "folder"]
    seed: int = Field(ge=0)
    per_class: int | None = Field(default=None, gt=0)
    also: list[str] = []

    @field_validator("also")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not name.isascii() or not name.replace("-", "").isalpha() or name != name.lower():
                raise ValueError(f"a class is named by small letters, got '{name}'")
            if name in (*CLASSES, "other"):
                raise ValueError(f"{name} is a class already")
        if len(set(value)) < len(value):
            raise ValueError("each class once")
        return value


class FeatureSource(Strict):
    """A network and the layer whose values are features; see `cellnet.features.open_extractor`.

    Attributes:
        name: A network of Keras; null where ``weights`` is a model of this project.
        layer: The layer.
        weights: ``random``, ``imagenet``, a file, or a model of this project.
        size: Side of the input in pixels; null for the network's own.
        arguments: What else Keras's builder takes.
    """

    name: str | None = None
    layer: str
    weights: str
    size: int | None = Field(default=None, gt=0)
    arguments: dict[str, Argument] = {}

    @property
    def label(self) -> str:
        """What it is called in a report: ``VGG16 fc1 (imagenet)``, ``model1 dense1``.

        Others of one recipe may be called the same; see `SvmStudy.labels`.
        """
        return self.told(1)

    def told(self, folders: int, *more: str) -> str:
        """The label with so many of the last parts of the weights' place, and what else is told."""
        weights = "/".join(Path(self.weights).parts[-folders:])
        if self.name:
            return f"{self.name} {self.layer} ({', '.join([weights, *more])})"
        return f"{weights} {self.layer}"


class Machines(Strict):
    """The support vector machines.

    Attributes:
        kernels: Which of `cellnet.svm.KERNELS`.
        cost: Of a cell on the wrong side of the margin, C.
    """

    kernels: list[Literal["rbf", "cubic", "quadratic"]] = Field(min_length=1)
    cost: float = Field(default=1.0, gt=0)


class PublishedAccuracy(Strict):
    """What the literature reports, to stand beside what is measured; only what is known.

    Attributes:
        source: Where the numbers are from.
        accuracy: By the backbone's name.
    """

    source: str
    accuracy: dict[str, float] = {}


class _Experiment(Strict):
    command: ClassVar[str] = "transfer"

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    source: str
    data: TransferData
    published: PublishedAccuracy | None = None


class SvmStudy(_Experiment):
    """Features of networks, named by support vector machines.

    Attributes:
        kind: ``features-svm``.
        name: Of the experiment.
        source: The publication that it follows.
        data: Which cells.
        groups: By group, the classes that it is made of; cells of other classes are left out. Null
            for the classes themselves.
        features: The networks and layers.
        svm: The machines.
        folds: Of the cross-validation.
        seed: Of the folds.
        published: What the literature reports, or null.
    """

    kind: Literal["features-svm"]
    groups: dict[str, list[str]] | None = None
    features: list[FeatureSource] = Field(min_length=1)
    svm: Machines
    folds: int = Field(default=5, ge=2)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> SvmStudy:
        labels = self.labels
        if len(set(labels)) < len(labels):
            raise ValueError(f"features must differ, got {', '.join(labels)}")
        if self.groups is not None:
            if len(self.groups) < 2:
                raise ValueError("groups must be two or more")
            members = [name for group in self.groups.values() for name in group]
            unknown = sorted(set(members) - {*CLASSES, *self.data.also})
            if unknown:
                raise ValueError(
                    f"groups name '{unknown[0]}', which is no class; the classes are "
                    f"{', '.join(CLASSES)}, and others that data.also lists"
                )
            if len(set(members)) < len(members):
                raise ValueError("a class can be in one group alone")
        return self

    @property
    def labels(self) -> list[str]:
        """What the features are called in a report, each differently, in the recipe's order.

        Where the short label stands for two, the folders that the weights are in are told too, as
        many as tell them apart, then the size and the arguments in which they differ.
        """
        return [_label(one, self.features) for one in self.features]


def _label(one: FeatureSource, features: Sequence[FeatureSource]) -> str:
    """The shortest label of one of several features that no other of them has."""
    same = [other for other in features if other.label == one.label]
    depth = 1
    while depth < len(Path(one.weights).parts) and any(
        other.told(depth) == one.told(depth) for other in same if other.weights != one.weights
    ):
        depth += 1
    same = [other for other in same if other.weights == one.weights]
    more = []
    if len({other.size for other in same}) > 1:
        more.append("own size" if one.size is None else f"{one.size} pixels")
    for key in sorted({key for other in same for key in other.arguments}):
        # As text: 1 and True are equal, and are not the same argument.
        if len({repr(other.arguments.get(key)) for other in same}) > 1:
            more.append(f"{key} {one.arguments.get(key, 'as Keras has it')}")
    return one.told(depth, *more)


class Backbone(Strict):
    """A network whose last blocks are trained on; see `cellnet.networks.finetuned`.

    Attributes:
        name: A network of Keras.
        weights: ``random``, ``imagenet``, or a file.
        pooling: Between the network and its new head.
        hidden: Units of the head's hidden layers.
        size: Side of the input in pixels; null for the network's own.
        arguments: What else Keras's builder takes.
    """

    name: str
    weights: str
    pooling: Literal["flatten", "average"]
    hidden: list[Annotated[int, Field(gt=0)]]
    size: int | None = Field(default=None, gt=0)
    arguments: dict[str, Argument] = {}


class FineTuning(_Experiment):
    """Networks fine-tuned with several blocks free and on training sets of several sizes.

    Attributes:
        kind: ``fine-tuning``.
        name: Of the experiment.
        source: The publication that it follows.
        data: Which cells.
        backbones: The networks.
        free_blocks: How many of the last convolutional blocks learn, each in turn.
        images_per_class: Sizes of the training set, each in turn.
        unbalanced: Whether the best form of each network is trained once more on a set of the same
            size in which classes are as frequent as on the train side.
        views: As in the recipe of a training.
        training: As in the recipe of a training.
        published: What the literature reports, or null.
    """

    kind: Literal["fine-tuning"]
    backbones: list[Backbone] = Field(min_length=1)
    free_blocks: list[int] = Field(min_length=1)
    images_per_class: list[int] = Field(min_length=1)
    unbalanced: bool = True
    views: list[View] = Field(min_length=1)
    training: Training

    @model_validator(mode="after")
    def _whole(self) -> FineTuning:
        names = [one.name for one in self.backbones]
        for what, values, least in (
            ("backbones", names, ""),
            ("free_blocks", self.free_blocks, 0),
            ("images_per_class", self.images_per_class, 1),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} must differ, got {values}")
            if min(values) < least:
                raise ValueError(f"{what} must be at least {least}, got {min(values)}")
        if self.data.also:
            raise ValueError("data.also is for features-svm: fine-tuning learns the eight classes")
        if self.data.per_class is not None:
            raise ValueError("data.per_class is for features-svm: give images_per_class here")
        return self

    def run_of(self, backbone: Backbone, free: int, images: int) -> Recipe:
        """The recipe of one training.

        Args:
            backbone: One of the networks.
            free: Blocks that learn.
            images: Images a class.
        """
        arguments: dict[str, Any] = {
            "backbone": backbone.name,
            "weights": backbone.weights,
            "pooling": backbone.pooling,
            "hidden": backbone.hidden,
            "free": free,
            **backbone.arguments,
        }
        if backbone.size is not None:
            arguments["size"] = backbone.size
        return Recipe.model_validate(
            {
                "name": self.name,
                "source": self.source,
                "target": "class",
                "network": {"name": "finetuned", "arguments": arguments},
                "data": {
                    "adapter": self.data.adapter,
                    "seed": self.data.seed,
                    "per_class": images,
                },
                "views": [view.model_dump() for view in self.views],
                "training": self.training.model_dump(),
            }
        )


TransferRecipe = SvmStudy | FineTuning


def read_transfer(path: str | Path) -> TransferRecipe:
    """Read and check a recipe of either kind.

    Raises:
        CellnetError: As `cellnet.recipe.read_recipe`, or the kind is neither.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        content = None  # `read_recipe` says what is wrong
    kinds = {FEATURES_SVM: SvmStudy, FINE_TUNING: FineTuning}
    kind = content.get("kind") if isinstance(content, dict) else FEATURES_SVM
    if kind is None and command_of(content):
        kind = FEATURES_SVM  # `read_recipe` names the right command
    if not isinstance(kind, str) or kind not in kinds:
        raise CellnetError(
            f"the recipe {path} has the kind {kind!r}; cellnet transfer runs {' and '.join(kinds)}"
        )
    return read_recipe(path, kinds[kind])
