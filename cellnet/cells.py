"""The names of cells: eight classes, the sub-types behind them, and what a granularity label means.

One place holds them so that a softmax's index, a folder's name and a column of a report cannot
disagree. The order of `CLASSES` is the order of Model 1's outputs and must never change. Which
image belongs to which class is the business of `adapters` and `manifest`.
"""

from __future__ import annotations

import re

__all__ = [
    "CLASSES",
    "DIFFERENTIAL",
    "DYSPLASTIC_FROM",
    "FIVE",
    "GRANULARITY",
    "NEUTROPHIL",
    "NORMAL_UP_TO",
    "OTHER",
    "SUBTYPES",
    "subtype_of",
]

CLASSES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
"""The eight classes, in the order of Model 1's softmax (thesis, table 6.1); ``ig`` is an immature
granulocyte."""

OTHER = "other"
"""The label of a cell that no class claims with a probability over 0.5 (thesis, section 6.4)."""

NEUTROPHIL = "neutrophil"
"""The class whose cells DysplasiaNet scores."""

FIVE = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
"""The five mature white cells, all that most public sets of other laboratories name."""

GRANULARITY = ("dysplastic", "normal")
"""What DysplasiaNet's labels 0 and 1 mean: hypogranulated, and as granular as it should be."""

NORMAL_UP_TO = 0.2
DYSPLASTIC_FROM = 2 / 3
"""A neutrophil is normal with at most a fifth of its granules taken out, and dysplastic with two
thirds or more (Goasguen et al. 2014); in between it is neither, and trains and tests nothing."""

DIFFERENTIAL = {
    "lymphocyte": 0.52,
    "monocyte": 0.16,
    "eosinophil": 0.09,
    "platelet": 0.08,
    "ig": 0.06,
    "erythroblast": 0.05,
    "basophil": 0.04,
}
"""What a simulated or drawn smear holds beside neutrophils: adult blood, the rare kinds raised a
little."""

SUBTYPES = {
    "BNE": "band neutrophil",
    "SNE": "segmented neutrophil",
    "MMY": "metamyelocyte",
    "MY": "myelocyte",
    "PMY": "promyelocyte",
}
"""Sub-types by the file-name prefix of Acevedo et al. (2020). The prefixes NEUTROPHIL and IG, and
those of the other classes, say no more than the class."""


def subtype_of(filename: str) -> str:
    """Tell a cell's sub-type from its file name in the PBC data set.

    Args:
        filename: A file's name, or a path that ends in it.

    Returns:
        A value of `SUBTYPES`, or an empty string where the name says no more than the class.

    Example:
        >>> subtype_of("neutrophil/BNE_191112.jpg")
        'band neutrophil'
        >>> subtype_of("BA_100102.jpg")
        ''
    """
    name = re.split(r"[/\\]", filename)[-1]
    prefix, separator, _ = name.partition("_")
    return SUBTYPES.get(prefix.upper(), "") if separator else ""
