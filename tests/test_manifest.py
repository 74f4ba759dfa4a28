"""The manifest: what goes out comes back, and what breaks a rule is named with its line."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.manifest import (
    COHORT_SPLITS,
    COLUMNS,
    SPLITS,
    Row,
    check_disjoint,
    counts,
    read_manifest,
    write_manifest,
)

ROW = Row("ig/a.png", "0" * 64, "ig", split="train")


def rows_of(*changes: dict) -> list[Row]:
    return [
        replace(ROW, **({"path": f"ig/{i}.png", "sha256": f"{i:064x}"} | change))
        for i, change in enumerate(changes)
    ]


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
name = st.text("abcäø ,\"';\n-_", min_size=1, max_size=6).filter(lambda s: s.strip(". "))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(
            Row,
            path=st.lists(name, min_size=1, max_size=3).map("/".join),
            sha256=st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}"),
            label=st.sampled_from(CLASSES),
            subtype=text.map(lambda s: s.replace("\r", "")),
            patient=text.map(lambda s: s.replace("\r", "")),
            split=st.sampled_from(SPLITS + COHORT_SPLITS),
            suppression=st.sampled_from(["", "0", "0.667", "1.0"]),
        ),
        max_size=5,
        unique_by=lambda row: row.path,
    )
)
def test_what_is_written_is_read(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("manifest")
    write_manifest(folder, rows, ".", {"seed": 3})
    manifest = read_manifest(folder)
    assert manifest.rows == rows
    assert manifest.about["seed"] == 3 and manifest.about["images"] == len(rows)
    assert manifest.root == folder


def test_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_manifest(tmp_path / name, [ROW], "/data", {"seed": 0})
    for file in ("manifest.csv", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["manifest.csv", "manifest.json"]


def test_root_is_relative_absolute_or_given(tmp_path):
    file = write_manifest(tmp_path / "m", [ROW], "../cells")
    assert read_manifest(file).path_of(ROW).resolve() == tmp_path / "cells/ig/a.png"
    write_manifest(tmp_path / "m", [ROW], "/somewhere")
    assert read_manifest(file).path_of(ROW).as_posix() == "/somewhere/ig/a.png"
    assert read_manifest(file, root=tmp_path).path_of(ROW) == tmp_path / "ig/a.png"
    (tmp_path / "m" / "manifest.json").unlink()
    assert read_manifest(file).root == tmp_path / "m"


def test_missing_images_are_an_error_that_says_how_to_go_on(tmp_path):
    manifest = read_manifest(write_manifest(tmp_path, [ROW], "/moved/away"))
    with pytest.raises(CellnetError, match=r"1 of 1 images .* /moved/away/ig/a.png; .*'root'"):
        manifest.check_files()
    (tmp_path / "ig").mkdir()
    (tmp_path / "ig" / "a.png").touch()
    read_manifest(tmp_path, root=tmp_path).check_files()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "/etc/passwd"}, "is absolute"),
        ({"path": "C:\\cells\\a.png"}, "is absolute"),
        ({"path": "ig/../../a.png"}, "leaves the manifest's root"),
        ({"path": "ig\\..\\a.png"}, "leaves the manifest's root"),
        ({"path": ""}, "path is empty"),
        ({"sha256": "abc"}, "64 hexadecimal"),
        ({"sha256": "A" * 64}, "lower case"),
        ({"label": "unicorn"}, "label 'unicorn' is unknown; valid are: basophil"),
        ({"split": "holdout"}, "split 'holdout' is unknown"),
        ({"split": ""}, "split '' is unknown"),
        ({"suppression": "1.5"}, r"suppression '1.5' is not a number in \[0, 1\]"),
        ({"suppression": "nan"}, "suppression 'nan'"),
        ({"suppression": "much"}, "suppression 'much'"),
        ({"path": "ig/0.png"}, "stands on line 2 already"),
    ],
)
def test_each_broken_rule_is_named_with_file_and_line(tmp_path, change, message):
    with pytest.raises(CellnetError, match=message):
        write_manifest(tmp_path, rows_of({}, change), ".")
    lines = [",".join(COLUMNS)]
    for row in rows_of({}, change):
        lines.append(",".join(getattr(row, column) for column in COLUMNS))
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(CellnetError, match=f"manifest.csv, line 3: .*{message}"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: the column path is missing"),
        ("path,sha256,label\n", "line 1: the column split is missing"),
        ("path,sha256,label,split,colour\n", "line 1: the column 'colour' is unknown"),
        ("path,sha256,label,split\na,b\n", "line 2: 2 values for 4 columns"),
        ('path,sha256,label,split\n"a', "no valid CSV"),
    ],
)
def test_no_manifest_at_all(tmp_path, content, message):
    (tmp_path / "manifest.csv").write_text(content)
    with pytest.raises(CellnetError, match=message):
        read_manifest(tmp_path)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(CellnetError, match="no manifest at .*cellnet data prepare"):
        read_manifest(tmp_path)
    file = write_manifest(tmp_path, [ROW], ".")
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(CellnetError, match="must hold a JSON object"):
        read_manifest(file)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(CellnetError, match=r"cannot read .*manifest\.json"):
        read_manifest(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CellnetError, match="cannot read the manifest"):
        read_manifest(file)


def test_a_spreadsheets_byte_order_mark_and_order_of_columns_do_not_matter(tmp_path):
    file = write_manifest(tmp_path, [ROW], ".")
    file.write_text(f"split,label,sha256,path\ntrain,ig,{'0' * 64},ig/a.png\n", "utf-8-sig")
    assert read_manifest(file).rows == [ROW]


def test_the_share_of_granules_taken_out_is_called_suppression(tmp_path):
    """DysplasiaNet's granularity score means the opposite; manifests once called both the same."""
    row = replace(ROW, label="neutrophil", suppression="0.8000")
    file = write_manifest(tmp_path, [row], ".")
    text = file.read_text()
    assert text.splitlines()[0].endswith(",split,suppression") and "granularity" not in text
    file.write_text(text.replace("suppression", "granularity"))
    assert read_manifest(file).rows == [row]
    file.write_text("path,sha256,label,split,granularity,suppression\n")
    with pytest.raises(CellnetError, match="column 'suppression' is unknown or doubled"):
        read_manifest(file)


def test_rows_by_split_and_counts(tmp_path):
    rows = rows_of({}, {"split": "test"}, {"label": "monocyte"})
    manifest = read_manifest(write_manifest(tmp_path, rows, "."))
    assert manifest.split("train") == [rows[0], rows[2]]
    assert manifest.split("test", "train") == rows
    assert counts(rows) == {"train": {"ig": 1, "monocyte": 1}, "test": {"ig": 1}}
    with pytest.raises(CellnetError, match="no split 'validation'; it has: test, train"):
        manifest.split("validation")


@pytest.mark.parametrize("column", ["sha256", "source_cell", "patient", "smear"])
def test_nothing_known_may_stand_on_two_sides(column):
    same = {column: "f" * 64}
    check_disjoint(rows_of(same, same))
    what = "photograph" if column in ("sha256", "source_cell") else column
    with pytest.raises(CellnetError, match=f"{what} f+ on two sides: ig/0.png is in 'train'"):
        check_disjoint(rows_of(same, same | {"split": "test"}))


def test_what_is_unknown_is_not_compared():
    check_disjoint(rows_of({}, {"split": "test"}))
