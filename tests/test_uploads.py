"""Bodies of requests become smears: the same files as in a folder, within limits, in memory."""

from __future__ import annotations

import gc
import io
import os
import random
import stat
import weakref
import zipfile
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet import images, uploads, zips
from cellnet.errors import RefusedUpload, UnreadableImage
from cellnet.limits import Limits
from cellnet.listing import Listing, find_images, list_names
from cellnet.uploads import Upload, UploadReceiver
from cellnet.zips import clean_name

TREE = {
    "b.jpg": b"b",
    "a.PNG": b"a",
    "notes.txt": b"n",
    "no-ending": b"",
    ".hidden.jpg": b"h",
    "neutrophil/1.tif": b"1",
    "neutrophil/.thumbs/2.jpg": b"2",
    "neutrophil/.thumbs/3.jpg": b"3",
    "neutrophil-2/x.jpeg": b"x",
    ".git/config": b"g",
    "deep/er/y.bmp": b"y",
    "deep/er/Thumbs.db": b"t",
    "Ärzte/ß \U0001f52c.webp": b"u",
}


def encoded(files, smear: str | None = None) -> tuple[str, bytes]:
    """The type and the body that a client sends for names and contents."""
    parts = [("files", (name, content)) for name, content in dict(files).items()]
    data = None if smear is None else {"smear": smear}
    request = httpx.Request("POST", "http://localhost/", files=parts, data=data)
    return request.headers["content-type"], request.read()


def receive(files, smear: str | None = None, limits: Limits | None = None) -> Upload:
    kind, body = encoded(files, smear)
    return take(kind, body, limits=limits)


def take(kind: str, body: bytes, step: int = 65536, limits: Limits | None = None) -> Upload:
    receiver = UploadReceiver(kind, None, limits or Limits())
    for start in range(0, len(body), step):
        receiver.receive(body[start : start + step])
    return receiver.finish()


def zipped(files, **more) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", more.pop("method", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in dict(files).items():
            archive.writestr(name, content)
    return stream.getvalue()


def names(upload: Upload) -> list[str]:
    return [upload.listing.relative(file) for file in upload.listing.files]


def contents(upload: Upload) -> dict[str, bytes]:
    return {upload.listing.relative(it): upload.read(it) for it in upload.listing.files}


def written(folder: Path, files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def told(listing: Listing) -> tuple:
    """What a listing says, by names alone."""
    passed_over = [(listing.relative(path), reason) for path, reason in listing.passed_over]
    return [listing.relative(file) for file in listing.files], passed_over, listing.reasons


# ---------------------------------------------------------------- the same as in a folder


def test_names_are_listed_as_the_folder_is(tmp_path):
    found = find_images(written(tmp_path / "smear", TREE))
    assert told(list_names("smear", TREE)) == told(found)
    assert list(list_names("smear", TREE).reasons) == list(found.reasons)


name = st.text(st.sampled_from("ab.-_ jpgJ"), min_size=1, max_size=6).filter(
    lambda it: it.strip(".") and it != "."
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(name, min_size=1, max_size=3), max_size=6, unique_by=tuple))
def test_any_names_are_listed_as_the_folder_is(tmp_path_factory, paths):
    folder = tmp_path_factory.mktemp("names")
    made = []
    for parts in paths:
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
        except OSError:  # a file stands where a folder should be
            continue
        made.append("/".join(parts))
    assert told(list_names(folder, made)) == told(find_images(folder))


@pytest.mark.parametrize("how", ["files", "zip", "stored zip", "zip of the folder", "both"])
def test_an_upload_is_listed_as_the_folder_is(tmp_path, how):
    found = find_images(written(tmp_path / "smear-7", TREE))
    if how == "files":
        upload = receive(TREE, smear="smear-7")
    elif how == "both":
        packed = {name: TREE[name] for name in list(TREE)[:6]}
        upload = receive({k: v for k, v in TREE.items() if k not in packed} | {
            "some.zip": zipped(packed)}, smear="smear-7")  # fmt: skip
    else:
        top = "smear-7/" if "folder" in how else ""
        method = zipfile.ZIP_STORED if "stored" in how else zipfile.ZIP_DEFLATED
        packed = zipped({top + k: v for k, v in TREE.items()}, method=method)
        upload = receive({"smear-7.zip": packed})
    assert upload.smear == "smear-7"
    assert told(upload.listing) == told(found)
    assert contents(upload) == {found.relative(it): it.read_bytes() for it in found.files}


@pytest.mark.parametrize("step", [1, 7, 100])
def test_pieces_of_any_size_are_the_same(step):
    files = {"a.jpg": bytes(range(256)) * 3, "b.png": b"\r\n--\r\n-" * 40, "c.tif": b""}
    kind, body = encoded(files, smear="s")
    assert contents(take(kind, body, step)) == files


def test_names_that_are_no_text_stay_what_they_are(tmp_path):
    kind, body = encoded({"a?.jpg": b"x"})
    upload = take(kind, body.replace(b"a?.jpg", b"a\xff.jpg"))
    assert [os.fsencode(file.name) for file in upload.listing.files] == [b"a\xff.jpg"]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "files, smear, expected",
    [
        (["a.jpg"], None, ("smear", ["a.jpg"])),
        (["s1/a.jpg", "s1/n/b.jpg"], None, ("s1", ["a.jpg", "n/b.jpg"])),
        (["s1/a.jpg", "s2/b.jpg"], None, ("smear", ["s1/a.jpg", "s2/b.jpg"])),
        (["s1/a.jpg", "b.jpg"], None, ("smear", ["b.jpg", "s1/a.jpg"])),
        (["s1/a.jpg"], "s1", ("s1", ["a.jpg"])),
        (["neutrophil/a.jpg"], "s1", ("s1", ["neutrophil/a.jpg"])),
        (["x/a.jpg"], "Müller, 3", ("Müller, 3", ["x/a.jpg"])),
    ],
)
def test_names_of_files_and_smear(files, smear, expected):
    upload = receive(dict.fromkeys(files, b""), smear)
    assert (upload.smear, names(upload)) == expected


@pytest.mark.parametrize(
    "entries, smear, expected",
    [
        (["s1/", "s1/a.jpg"], None, ("s1", ["a.jpg"])),
        (["neutrophil/a.jpg"], None, ("s1", ["neutrophil/a.jpg"])),
        (["s1/a.jpg", "__MACOSX/s1/._a.jpg"], None, ("s1", ["a.jpg"])),
        (["./", "a.jpg"], None, ("s1", ["a.jpg"])),
        (["s1\\n\\a.jpg"], None, ("s1", ["n/a.jpg"])),
        (["s1/a.jpg"], "s2", ("s2", ["s1/a.jpg"])),
        (["s2/a.jpg"], "s2", ("s2", ["a.jpg"])),
    ],
)
def test_names_in_an_archive(entries, smear, expected):
    upload = receive({"folder/s1.ZIP": zipped(dict.fromkeys(entries, b""))}, smear)
    assert (upload.smear, names(upload)) == expected


@pytest.mark.parametrize(
    "bad, why",
    [
        ("/etc/a.jpg", "relative"), ("C:\\a.jpg", "relative"), ("\\\\host\\a.jpg", "relative"),
        ("../a.jpg", "below"), ("a/../../b.jpg", "below"), ("a\\..\\b.jpg", "below"),
        ("a\0.jpg", "below"), ("x" * 1025, "1 to 1024"), (".", "1 to 1024"), ("", "1 to 1024"),
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(bad, why):
    with pytest.raises(RefusedUpload, match=why) as refused:
        clean_name(bad)
    assert refused.value.status == 400


def test_names_twice_are_refused():
    with pytest.raises(RefusedUpload, match="two files are called 'a.jpg'"):
        receive({"a.jpg": b"", "x.zip": zipped({"a.jpg": b""})})
    with pytest.raises(RefusedUpload, match="two files are called"):
        receive({"a.jpg": b"", "./a.jpg": b""})
    with pytest.warns(UserWarning, match="Duplicate"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.jpg", b"1")
            archive.writestr("a.jpg", b"2")
    with pytest.raises(RefusedUpload, match="two files are called"):
        receive({"x.zip": stream.getvalue()})


# ---------------------------------------------------------------- the body


def part(disposition: str, content: str = "x", boundary: str = "b") -> str:
    return f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n"


GOOD = 'form-data; name="files"; filename="a.jpg"'


@pytest.mark.parametrize(
    "body, why",
    [
        ("", "its end is missing"),
        (part(GOOD), "its end is missing"),
        (part(GOOD).removesuffix("\r\n"), "its end is missing"),
        ("no boundary here", "no complete multipart"),
        (part('form-data; name="files"') + "--b--", "needs a file name"),
        (part('form-data; name="file"; filename="a.jpg"') + "--b--", "got 'file'"),
        (part("attachment") + "--b--", "got ''"),
        (part('form-data; name="files"; filename="a/"') + "--b--", "name of a folder"),
        (part('form-data; name="files"; filename="../a.jpg"') + "--b--", "below the smear's"),
        (part('form-data; name="smear"', "a") * 2 + "--b--", "'smear' twice"),
        *((part('form-data; name="smear"', bad) + "--b--", "the smear's name")
          for bad in ("", ".", "..", "a/b", "a\\b", "a\0", "x" * 256)),
        (part(GOOD + "; x=" + "y" * 9000) + "--b--", "no complete multipart"),
    ],
)  # fmt: skip
def test_bodies_that_are_none(body, why):
    with pytest.raises(RefusedUpload, match=why) as refused:
        take("multipart/form-data; boundary=b", body.encode())
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "kind", ["", "application/zip", "multipart/form-data", "multipart/mixed; boundary=b"]
)
def test_other_types_are_refused(kind):
    with pytest.raises(RefusedUpload, match="multipart/form-data in the field 'files'") as refused:
        take(kind, b"")
    assert refused.value.status == 415


def test_without_files_it_is_an_empty_smear():
    upload = take("multipart/form-data; boundary=b", b"--b--\r\n")
    assert (upload.smear, upload.listing.files) == ("smear", [])


# ---------------------------------------------------------------- limits


def refused_with(status: int, sent, /, **limits) -> str:
    with pytest.raises(RefusedUpload) as refused:
        receive(sent, limits=Limits(**limits))
    assert refused.value.status == status
    return str(refused.value)


def test_size_of_an_upload():
    kind, body = encoded({"a.jpg": bytes(1000)})
    assert take(kind, body, limits=Limits(upload_bytes=len(body)))
    limits = Limits(upload_bytes=len(body) - 1)
    with pytest.raises(RefusedUpload, match="this one has more") as refused:
        UploadReceiver(kind, str(len(body)), limits)  # as it is stated, before a byte came
    assert refused.value.status == 413
    receiver = UploadReceiver(kind, "10", limits)  # a statement that is wrong
    receiver.receive(body[:-1])
    with pytest.raises(RefusedUpload, match="this one has more"):
        receiver.receive(body[-1:])


def test_number_of_files():
    files = {f"{number}.txt": b"" for number in range(5)}
    assert receive(files, limits=Limits(files=5))
    assert "4 files" in refused_with(413, files, files=4)
    kind, body = encoded(files)
    receiver = UploadReceiver(kind, None, Limits(files=4))
    with pytest.raises(RefusedUpload, match="4 files"):  # not only at the end
        receiver.receive(body[: body.rindex(b"\r\n\r\n") + 4])


def test_number_of_files_in_archives():
    packed = zipped({f"{number}.jpg": b"" for number in range(5)} | {"folder/": b""})
    assert receive({"a.zip": packed}, limits=Limits(files=5))
    assert "4 files" in refused_with(413, {"a.zip": packed}, files=4)
    assert "5 files" in refused_with(413, {"a.zip": packed, "b.jpg": b""}, files=5)


def test_a_flood_of_entries_is_refused_before_it_is_read(monkeypatch):
    packed = zipped({f"{number}.jpg": b"" for number in range(1100)}, method=zipfile.ZIP_STORED)

    def read(*_, **__):
        pytest.fail("the table of contents was read")

    monkeypatch.setattr(zips.zipfile, "ZipFile", read)
    assert "10 files" in refused_with(413, {"a.zip": packed}, files=10)


def test_bombs_are_refused():
    bomb = zipped({"a.bmp": bytes(2_000_000)})
    assert len(bomb) < 5000
    assert "times its size" in refused_with(413, {"a.zip": bomb})
    assert "2000000 bytes" in refused_with(413, {"a.zip": bomb}, ratio=2000, unpacked_bytes=10**6)
    assert receive({"a.zip": bomb}, limits=Limits(ratio=2000, unpacked_bytes=2_000_000))
    several = {f"{number}.zip": zipped({f"{number}.bmp": random.Random(0).randbytes(600)})
               for number in range(3)}  # fmt: skip
    assert "1800 bytes" in refused_with(413, several, unpacked_bytes=1799)


def test_overlapping_entries_count_each():
    """All entries lead to the same packed bytes: small, and without an end when unpacked."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.bmp", bytes(100_000))
        first = archive.infolist()[0]
        for number in range(1, 50):
            twin = zipfile.ZipInfo(f"{number}.bmp")
            for key in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
                setattr(twin, key, getattr(first, key))
            archive.filelist.append(twin)
    assert "times its size" in refused_with(413, {"a.zip": stream.getvalue()})


def test_images_that_are_too_large_are_listed_as_from_a_disk(tmp_path, monkeypatch):
    for module in (images, uploads, zips):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    files = {"a.jpg": b"x" * 1000, "b.jpg": random.Random(0).randbytes(1001)}
    for upload in (receive(files), receive({"x.zip": zipped(files)})):
        small, large = upload.listing.files
        assert upload.read(small) == files["a.jpg"]
        with pytest.raises(UnreadableImage) as sent:
            upload.read(large)
        with pytest.raises(UnreadableImage) as stored:
            images.read_bytes(written(tmp_path, files) / "b.jpg")
        assert sent.value.reason == stored.value.reason


def test_what_is_no_image_is_not_kept():
    receiver = UploadReceiver("multipart/form-data; boundary=b", None, Limits())
    text = 'form-data; name="files"; filename="{}"'
    big = "y" * 10_000
    body = "".join(part(text.format(it), big) for it in ("a.txt", ".b.jpg", ".c.zip", "d.jpg"))
    receiver.receive(body.encode() + b"--b--")
    assert [len(it.content.getvalue()) for it in receiver._parts] == [0, 0, 0, 10_000]


@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_free_as_soon_as_an_upload_is_done_with(packed):
    """Not when the garbage collector comes by: an upload may be most of the memory."""
    files = {"a.jpg": b"x" * 1000}
    kind, body = encoded({"s.zip": zipped(files)} if packed else files)
    gc.disable()
    try:
        receiver = UploadReceiver(kind, None, Limits())
        receiver.receive(body)
        content = weakref.ref(receiver._parts[0].content)
        upload = receiver.finish()
        receiver.close()
        assert upload.read(upload.listing.files[0]) == files["a.jpg"]
        del upload
        assert content() is None
        receiver = UploadReceiver(kind, None, Limits())
        receiver.receive(body[:-20])
        content = weakref.ref(receiver._parts[0].content)
        receiver.close()
        assert content() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- archives


def archive_with(info: zipfile.ZipInfo, content: bytes = b"x", **more) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, content, **more)
    return stream.getvalue()


def special(kind: int) -> bytes:
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = (kind | 0o777) << 16
    return archive_with(info, b"/etc/passwd")


def encrypted() -> bytes:
    """The bit that says so, in both headers; Python cannot encrypt."""
    packed = bytearray(zipped({"a.jpg": b"x"}, method=zipfile.ZIP_STORED))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


@pytest.mark.parametrize(
    "packed, why",
    [
        (b"", "no zip archive"),
        (b"PK\x03\x04 and nothing more", "no zip archive"),
        (zipped({"a.jpg": b"x" * 100})[:-30], "no zip archive"),
        (encrypted(), "encrypted"),
        (special(stat.S_IFLNK), "link or a device"),
        (special(stat.S_IFIFO), "link or a device"),
        (special(stat.S_IFCHR), "link or a device"),
        (zipped({"b.zip": zipped({"a.jpg": b""})}), "archive in an archive"),
        (zipped({"x/B.ZIP": b""}), "archive in an archive"),
        (zipped({"a.jpg": b"x"}, method=zipfile.ZIP_BZIP2), "method 12"),
        (zipped({"a.jpg": b"x"}, method=zipfile.ZIP_LZMA), "method 14"),
        (zipped({"../a.jpg": b""}), "below the smear's folder"),
        (zipped({"x/../../a.jpg": b""}), "below the smear's folder"),
        (zipped({"/etc/a.jpg": b""}), "relative"),
        (zipped({"..\\a.jpg": b""}), "below the smear's folder"),
        (zipped({"c:\\a.jpg": b""}), "relative"),
    ],
)
def test_archives_that_are_refused(packed, why):
    with pytest.raises(RefusedUpload, match=why) as refused:
        receive({"s.zip": packed})
    assert refused.value.status == 400


def test_a_zip_by_content_alone_is_an_image_that_cannot_be_read():
    upload = receive({"a.jpg": zipped({"b.jpg": b""})})
    assert names(upload) == ["a.jpg"]
    with pytest.raises(UnreadableImage, match="ZIP archive"):
        images.decode_image(upload.read(upload.listing.files[0]))


def damaged(offset_in_data: int) -> bytes:
    packed = bytearray(zipped({"a.jpg": b"A" * 50, "b.jpg": b"B" * 50}, method=zipfile.ZIP_STORED))
    packed[packed.index(b"A" * 50) + offset_in_data] ^= 1
    return bytes(packed)


def stated(size: int, real: bytes, crc: int | None = None) -> bytes:
    """An archive of one stored or packed file whose table states another size."""
    packed = bytearray(zipped({"a.jpg": real}))
    at = packed.index(b"PK\x01\x02")
    packed[at + 24 : at + 28] = size.to_bytes(4, "little")
    return bytes(packed)


def test_a_damaged_file_in_an_archive_is_listed():
    upload = receive({"s.zip": damaged(3)})
    broken, whole = upload.listing.files
    with pytest.raises(UnreadableImage) as unreadable:
        upload.read(broken)
    assert unreadable.value.reason == "it is damaged in the zip archive"
    assert upload.read(whole) == b"B" * 50


@pytest.mark.parametrize("size", [1, 99, 101, 5000])
def test_a_size_that_is_stated_wrongly_is_damage(size):
    upload = receive({"s.zip": stated(size, random.Random(1).randbytes(100))})
    with pytest.raises(UnreadableImage, match="damaged"):
        upload.read(upload.listing.files[0])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_archive_breaks_the_server(data):
    whole = zipped({"s/a.jpg": b"x" * 40, "s/b.txt": b"y", "s/n/": b""})
    packed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 30))
    try:
        upload = receive({"s.zip": bytes(packed[: len(packed) - cut])})
        for file in upload.listing.files:
            upload.read(file)
    except (RefusedUpload, UnreadableImage):
        pass


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_body_breaks_the_server(data):
    kind, whole = encoded({"a.jpg": b"x" * 10, "b/c.png": b"y"}, smear="s")
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        take(kind, bytes(body), step=data.draw(st.integers(1, 400)))
    except RefusedUpload:
        pass
