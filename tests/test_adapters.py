"""Adapters: folders in, labelled candidates out, and whatever else is there is told."""

import pytest

from cellnet.adapters import Candidate, Dropped, adapt
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_pbc_reads_classes_and_subtypes(tmp_path):
    touch(tmp_path, "neutrophil/BNE_1.jpg", "neutrophil/.DS_1.jpg", "ig/PMY_2.jpg", "ig/IG_3.jpg")
    found = adapt("pbc", tmp_path)
    assert [(it.path, it.label, it.subtype) for it in found.candidates] == [
        ("ig/IG_3.jpg", "ig", ""),
        ("ig/PMY_2.jpg", "ig", "promyelocyte"),
        ("neutrophil/BNE_1.jpg", "neutrophil", "band neutrophil"),
    ]
    assert {(it.licence, it.patient) for it in found.candidates} == {("CC BY 4.0", "")}
    assert "10.17632/snkd93bnjr.1" in found.candidates[0].source
    assert found.dropped == [Dropped("neutrophil/.DS_1.jpg", "hidden")]


def test_folder_reads_classes_below_and_whatever_the_case(tmp_path):
    source = tmp_path / "own"
    touch(source, "Monocyte/a/b/1.png", "platelet/2.TIF", "platelet/notes.txt", "lost.png")
    found = adapt("folder", source)
    assert found.candidates == [
        Candidate("Monocyte/a/b/1.png", "monocyte", source="own"),
        Candidate("platelet/2.TIF", "platelet", source="own"),
    ]
    assert sorted((it.path, it.reason) for it in found.dropped) == [
        ("lost.png", "no class folder"),
        ("platelet/notes.txt", "not named like an image"),
    ]


def test_metadata_tells_patient_and_smear(tmp_path):
    touch(tmp_path, "ig/1.png", "ig/2.png", "ig/3.png")
    (tmp_path / "metadata.csv").write_text(
        "path,patient,smear,subtype\nig/1.png,A,1,myelocyte\n./ig\\2.png,B,1,\n", "utf-8-sig"
    )
    found = adapt("folder", tmp_path)
    told = [(it.patient, it.smear, it.subtype) for it in found.candidates]
    # The first smear of A is not the first smear of B.
    assert told == [("A", "A/1", "myelocyte"), ("B", "B/1", ""), ("", "", "")]
    assert found.dropped == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient\nA\n", "there must be 'path'"),
        ("path,colour\n", "there must be 'path' and may be patient"),
        ("path,patient\nig/1.png,A\nig/1.png,B\n", "line 3: 'ig/1.png' is empty or doubled"),
        ("path,patient\n,A\n", "line 2: '' is empty or doubled"),
        ("path,patient\nig/1.png,A,B\n", "line 2: too many values"),
        ("path,patient\nig/9.png,A\n", "names 1 files that are no images .* 'ig/9.png'"),
        ('path,patient\nig/1.png,"A', "no valid CSV"),
    ],
)
def test_wrong_metadata_is_named(tmp_path, text, message):
    touch(tmp_path, "ig/1.png")
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(CellnetError, match=message):
        adapt("folder", tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"), [("neutrophils", "did you mean 'neutrophil'"), ("blasts", "rename it to one")]
)
@pytest.mark.parametrize("adapter", ["pbc", "folder"])
def test_unknown_classes_are_refused_with_the_valid_names(tmp_path, adapter, name, hint):
    touch(tmp_path, f"{name}/1.png")
    with pytest.raises(CellnetError, match=hint) as caught:
        adapt(adapter, tmp_path)
    assert all(label in str(caught.value) for label in CLASSES)


def test_a_folder_of_results_beside_the_classes_is_no_class(tmp_path):
    touch(tmp_path, "ig/1.png", "prepared/manifest.csv")
    assert len(adapt("folder", tmp_path).candidates) == 1


def test_empty_missing_and_unknown(tmp_path):
    with pytest.raises(CellnetError, match="no image in a class folder"):
        adapt("folder", tmp_path)
    with pytest.raises(CellnetError, match="does not exist"):
        adapt("pbc", tmp_path / "nowhere")
    with pytest.raises(CellnetError, match="no adapter 'PBC'; valid adapters are: pbc, folder"):
        adapt("PBC", tmp_path)
