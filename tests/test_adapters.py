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


def test_ones_own_images_are_not_said_to_be_of_pbc(tmp_path):
    """Recipes read folders as PBC's: patients count there, and nobody else's cells are PBC's."""
    source = tmp_path / "own"
    touch(source, "ig/MY_2.jpg", "ig/MY_3.jpg", "ig/SNE_4.jpg", "ig/my cell.jpg")
    (source / "metadata.csv").write_text("path,patient,smear\nig/MY_3.jpg,A,1\nig/my cell.jpg,A,\n")
    found = adapt("pbc", source)
    of_pbc, *own = sorted(found.candidates, key=lambda it: it.path)
    assert (of_pbc.path, of_pbc.subtype, of_pbc.licence) == (
        "ig/MY_2.jpg",
        "myelocyte",
        "CC BY 4.0",
    )
    assert own == [
        Candidate("ig/MY_3.jpg", "ig", source="own", patient="A", smear="A/1"),
        Candidate("ig/SNE_4.jpg", "ig", source="own"),
        Candidate("ig/my cell.jpg", "ig", source="own", patient="A"),
    ]
    with open(source / "metadata.csv", "a") as file:
        file.write("ig/MY_9.jpg,B,1\n")
    with pytest.raises(CellnetError, match="names 1 files that are no images"):
        adapt("pbc", source)


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


@pytest.mark.parametrize("adapter", ["pbc", "folder"])
def test_folders_that_name_no_class_are_passed_over_and_told(tmp_path, adapter, caplog):
    touch(tmp_path, "ig/1.png", "neutrophils/1.png", "smears/a/1.png", "smears/a/2.png")
    found = adapt(adapter, tmp_path)
    assert [it.path for it in found.candidates] == ["ig/1.png"]
    none = "is named after no class"
    assert found.dropped == [
        Dropped(
            "neutrophils/1.png",
            "no class folder",
            f"the folder 'neutrophils' {none}; if it means 'neutrophil', rename it",
        ),
        Dropped("smears/a/1.png", "no class folder", f"the folder 'smears' {none}"),
        Dropped("smears/a/2.png", "no class folder", f"the folder 'smears' {none}"),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"passed over in {tmp_path}: 1 image: {found.dropped[0].detail}",
        f"passed over in {tmp_path}: 2 images: {found.dropped[1].detail}",
    ]


@pytest.mark.parametrize("adapter", ["pbc", "folder"])
def test_a_source_without_a_class_is_refused_with_the_valid_names(tmp_path, adapter):
    touch(tmp_path, "neutrophils/1.png", "blasts/1.png")
    with pytest.raises(CellnetError, match="no image in a class folder") as caught:
        adapt(adapter, tmp_path)
    assert all(label in str(caught.value) for label in CLASSES)
    assert "'blasts' is named after no class;" in str(caught.value)
    assert "'neutrophils' is named after no class; if it means 'neutrophil'" in str(caught.value)


def test_metadata_may_name_images_in_folders_that_are_passed_over(tmp_path):
    touch(tmp_path, "ig/1.png", "smears/1.png")
    (tmp_path / "metadata.csv").write_text("path,patient\nig/1.png,A\nsmears/1.png,B\n")
    assert [it.patient for it in adapt("folder", tmp_path).candidates] == ["A"]


def test_classes_beside_the_eight_are_read_where_they_are_asked_for(tmp_path):
    touch(tmp_path, "ig/1.png", "Blast/1.png")
    assert [it.label for it in adapt("folder", tmp_path, ["blast"]).candidates] == ["blast", "ig"]


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
