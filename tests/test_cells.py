"""Names of classes and sub-types."""

import pytest

from cellnet.cells import CLASSES, FIVE, GRANULARITY, NEUTROPHIL, OTHER, subtype_of


def test_classes_keep_the_order_of_model_1():
    assert CLASSES == tuple(sorted(CLASSES)) and len(CLASSES) == 8
    assert set(FIVE) < set(CLASSES)
    assert NEUTROPHIL in FIVE
    assert OTHER not in CLASSES
    assert GRANULARITY == ("dysplastic", "normal")


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("BNE_1.jpg", "band neutrophil"),
        ("sne_1.jpg", "segmented neutrophil"),
        ("NEUTROPHIL_1.jpg", ""),
        ("ig/MMY_1.jpg", "metamyelocyte"),
        ("ig\\MY_1.jpg", "myelocyte"),
        ("/a/BNE_b/PMY_1.jpg", "promyelocyte"),
        ("IG_1.jpg", ""),
        ("BNE", ""),
        ("", ""),
        ("BNE_folder/BA_1.jpg", ""),
    ],
)
def test_subtype_of_reads_the_prefix_of_the_last_part(name, subtype):
    assert subtype_of(name) == subtype
