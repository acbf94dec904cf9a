"""Captions in the files that people have, and what is wrong with some of them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from multiattn.data.captions import clean_caption, read_captions
from multiattn.data.metadata import text_lines
from multiattn.errors import InputError

EXPECTED = {"1.jpg": ("A red disc .", "It is red."), "b/2.jpg": ("Two; blue", "discs")}


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jsonl(root: Path) -> dict[str, str]:
    rows = [{"file_name": name, "texts": texts} for name, texts in EXPECTED.items()]
    write(root / "train" / "metadata.jsonl", "\n\n".join(map(json.dumps, rows)))
    return {}


def jsonl_with_a_caption_a_line(root: Path) -> dict[str, str]:
    rows = [{"file_name": name, "text": texts[i]} for i in (0, 1) for name, texts in EXPECTED.items()]
    write(root / "train" / "metadata.jsonl", "\ufeff" + "\r\n".join(map(json.dumps, rows)))
    return {}


def csv(root: Path) -> dict[str, str]:
    lines = "file_name,text\n1.jpg,A red disc .\nb/2.jpg,Two; blue\n1.jpg, It is red.\nb/2.jpg,discs\n"
    write(root / "train" / "metadata.csv", lines)
    return {}


def coco(root: Path) -> dict[str, str]:
    images = [{"id": 7 + i, "file_name": name} for i, name in enumerate(EXPECTED)]
    images.append({"id": 99, "file_name": "without captions.jpg"})
    notes = [{"image_id": 7 + i, "caption": texts[n]} for n in (0, 1) for i, texts in enumerate(EXPECTED.values())]
    write(root / "annotations" / "captions_train2017.json", json.dumps({"images": images, "annotations": notes}))
    (root / "train2017").mkdir()
    return {"captions": "annotations/captions_{split}2017.json", "pictures": "{split}2017"}


def flickr(root: Path) -> dict[str, str]:
    lines = [f"{name}#{i}\t{text}\n" for name, texts in EXPECTED.items() for i, text in enumerate(texts)]
    write(root / "text" / "Flickr8k.token.txt", "".join([*lines, "other.jpg#0\tof another split\n"]))
    write(root / "text" / "Flickr_8k.trainImages.txt", "".join(f"{name}\n" for name in EXPECTED))
    (root / "Flicker8k_Dataset").mkdir()
    return {"captions": "text/Flickr8k.token.txt", "pictures": "Flicker8k_Dataset"}


@pytest.mark.parametrize("layout", [jsonl, jsonl_with_a_caption_a_line, csv, coco, flickr])
def test_every_layout_says_the_same(layout, tmp_path) -> None:
    options = layout(tmp_path)
    folder = tmp_path / options.get("pictures", "{split}").replace("{split}", "train")
    assert read_captions(tmp_path, "train", **options).items == tuple(
        (folder / name, texts) for name, texts in EXPECTED.items()
    )


def test_coco_calls_the_validation_split_val(tmp_path) -> None:
    options = coco(tmp_path)
    for path in ("annotations/captions_{}2017.json", "{}2017"):
        shutil.move(tmp_path / path.format("train"), tmp_path / path.format("val"))
    assert read_captions(tmp_path, "validation", **options).items[0][0] == tmp_path / "val2017" / "1.jpg"
    with pytest.raises(InputError, match=r"captions_train2017\.json: there is no such file\. Check `captions`\."):
        read_captions(tmp_path, "train", **options)


@pytest.mark.parametrize(("split", "name"), [("validation", "dev"), ("test", "test"), ("mine", "mine")])
def test_flickr_names_its_splits_otherwise(split, name, tmp_path) -> None:
    options = flickr(tmp_path)
    write(tmp_path / "text" / f"Flickr_8k.{name}Images.txt", "other.jpg\n")
    items = read_captions(tmp_path, split, **options).items
    assert items == ((tmp_path / "Flicker8k_Dataset" / "other.jpg", ("of another split",)),)


def test_what_is_missing_is_named(tmp_path) -> None:
    options = flickr(tmp_path)
    with pytest.raises(InputError, match="there is no such folder. Give one with train/ in it"):
        read_captions(tmp_path / "none", "train")
    with pytest.raises(InputError, match="there is no such folder. Give one with train/ in it"):
        read_captions(tmp_path / "none", "train", **options)
    with pytest.raises(InputError, match="there is no split 'train': it has Flicker8k_Dataset, text. Make"):
        read_captions(tmp_path, "train")
    with pytest.raises(InputError, match="text: there is no metadata in this folder. Put into it a metadata.jsonl"):
        read_captions(tmp_path, "text")
    with pytest.raises(InputError, match="`pictures` must come with `captions`"):
        read_captions(tmp_path, "train", pictures="x")
    with pytest.raises(InputError, match=r"`captions` \(x\) must come with `pictures`"):
        read_captions(tmp_path, "train", captions="x")
    with pytest.raises(InputError, match=r"x: there is no such folder\. Check `pictures`\."):
        read_captions(tmp_path, "train", captions=options["captions"], pictures="x")
    with pytest.raises(InputError, match=r"Flickr_8k\.testImages\.txt: there is no such list of the split 'test'"):
        read_captions(tmp_path, "test", **options)


JSONL, CSV = "train/metadata.jsonl", "train/metadata.csv"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (JSONL, b'{"file_name": "1.jpg", "text": ""}', r"line 1: a caption must have words, but is empty instead\."),
        (JSONL, b'{"file_name": "1.jpg", "texts": ["a", " "]}', r"line 1: a caption must have words, but is empty"),
        (JSONL, b'{"file_name": "1.jpg", "texts": []}', r"line 1: `texts` must be a list of captions, but is \[\]"),
        (JSONL, b'{"file_name": "1.jpg", "texts": "a"}', r"line 1: `texts` must be a list of captions, but is 'a'"),
        (JSONL, b'{"file_name": "1.jpg", "text": 3}', r"line 1: a caption must be text, but is 3 instead\."),
        (JSONL, b'{"file_name": "1.jpg"}', "line 1: there must be one of `text` and `texts`, but there is neither"),
        (JSONL, b'{"file_name": "1.jpg", "text": "a", "texts": []}', "one of `text` and `texts`, but there is both"),
        (JSONL, b'\n{"file_name": "1.jpg", "text": "\xff"}', r"line 2: this is not text in UTF-8: .* Save the file"),
        (JSONL, b'{"file_name": "1.jpg", "text": "\\ud800"}', r"line 1: a caption must be whole characters, but is"),
        (
            JSONL,
            json.dumps({"file_name": "1.jpg", "text": "word " * 201}),
            r"line 1: a caption must have at most 1000 characters, but has 1005 instead: 'word word .* Shorten it\.",
        ),
        (JSONL, b"[" * 50_000, r"line 1 must be a JSON object, but is damaged .* \(it is nested too deeply\)"),
        (JSONL, b'{"file_name": "1.jpg", "n": ' + b"9" * 5000 + b"}", "line 1 must be a JSON object, but .* the limit"),
        (JSONL, b'{"file_name": "1.jpg", "text": "a", "text": "b"}', "an object has the key 'text' twice"),
        (JSONL, b'{"file_name": "1\\u0000.jpg", "text": "a"}', "line 1: `file_name` must be one that a file can have"),
        (JSONL, b'{"file_name": "1\\ud800.jpg", "text": "a"}', "line 1: `file_name` must be one that a file can have"),
        (JSONL, b'{"file_name": "1.jpg", "text": NaN}', "line 1: a caption must be text, but is nan"),
        (JSONL, b'{"file_name": "1.jpg", "text": [' + b"1," * 9999 + b"1]}", "line 1: a caption .{0,300} instead.$"),
        (JSONL, '{"file_name": "1.jpg", "text": "a"}'.encode("utf-16"), "not text in UTF-8, but in UTF-16. Save the"),
        (CSV, "file_name,text\n1.jpg,a\n".encode("utf-16"), "not text in UTF-8, but in UTF-16. Save the file"),
        (CSV, b"file_name,text\n1\0.jpg,a\n", r"metadata\.csv, line 2: "),
        (JSONL, b"x" * 65537, "line 1: a line must have at most 65536 bytes, but this one has more"),
        (CSV, b"file_name,label\n1.jpg,a\n", r"first line must name the columns `file_name` and `text`"),
        (CSV, b"file_name,text\n1.jpg,\n", r"metadata\.csv, line 2: a caption must have words, but is empty"),
        (CSV, b"file_name,text\n1.jpg,\xff\n", r"metadata\.csv, line \d: this cannot be read as CSV"),
        (
            CSV,
            b'file_name,text\n0.jpg,a fox\n1.jpg,"a dog\n2.jpg,a cat\n',
            r"metadata\.csv, lines 3 to 4: a value must be on one line, but .* instead\. Close the quote, or remove",
        ),
        (CSV, b'file_name,text\n1.jpg,"a dog\n2.jpg,"a cat"\n3.jpg,a\n', "lines 2 to 3: a value must be on one line"),
        (CSV, b'file_name,text,note\n1.jpg,a dog,"\r2.jpg,a cat,n\n', "lines 2 to 3: a value must be on one line"),
        (
            CSV,
            b'file_name,text\n1.jpg,"a dog\n' + b"2.jpg,a cat\n" * 12_000,
            r"metadata\.csv, line 2: this cannot be read as CSV: .*limit.*, and close each quote\.",
        ),
        (CSV, b"file_name,text\n1.jpg\n", r"metadata\.csv, line 2: a caption must be text, but is None"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(file, content, message, tmp_path) -> None:
    write(tmp_path / file, content)
    with pytest.raises(InputError, match=message):
        read_captions(tmp_path, "train")


def test_quotes_and_an_empty_line_at_the_end_of_one_are_no_error(tmp_path) -> None:
    write(tmp_path / CSV, 'file_name,text\r\n1.jpg, "A ""red"" disc, round" \r\n2.jpg,"Two\n"\r\n')
    assert [texts for _, texts in read_captions(tmp_path, "train").items] == [('A "red" disc, round ',), ("Two\n",)]


ONE = {"id": 1, "file_name": "1.jpg"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"must be JSON, but is damaged or unusual instead \(Expecting property name"),
        (b'{"a": "\xff"}', r"must be JSON, but is damaged or unusual instead \('utf-8' codec can't decode"),
        (b"[" * 100_000, r"must be JSON, but is damaged or unusual instead \(it is nested too deeply\)"),
        (b"[" + b"9" * 5000 + b"]", r"must be JSON, but .* \(Exceeds the limit"),
        (b'{"images": [], "images": []}', "an object has the key 'images' twice"),
        ({"images": [{"id": 1, "file_name": "a\0.jpg"}]} | {"annotations": []}, "must be one that a file can have"),
        (b"[]", "there must be lists of objects `images` and `annotations`"),
        (b'{"images": [3], "annotations": []}', "there must be lists of objects `images` and `annotations`"),
        ({"images": [{"id": 1}], "annotations": []}, "image 1: there must be an `id` and a `file_name`"),
        ({"images": [{"file_name": "1.jpg"}], "annotations": []}, "image 1: there must be an `id` and a `file_name`"),
        ({"images": [ONE], "annotations": []}, "the file has no captions"),
        (
            {"images": [ONE], "annotations": [{"image_id": 2, "caption": "a"}]},
            r"annotation 1: the picture 2 is unknown: `images` does not list this `image_id`\.",
        ),
        ({"images": [ONE], "annotations": [{"image_id": [], "caption": "a"}]}, r"the picture \[\] is unknown"),
        ({"images": [ONE], "annotations": [{"image_id": 1}]}, "annotation 1: a caption must be text, but is None"),
        ({"images": [ONE], "annotations": [{"image_id": 1, "caption": ""}]}, "annotation 1: a caption must have words"),
    ],
)
def test_a_coco_file_that_cannot_be_used_is_named(content, message, tmp_path) -> None:
    write(tmp_path / "c.json", content if isinstance(content, bytes) else json.dumps(content))
    with pytest.raises(InputError, match=rf"c\.json.*{message}"):
        read_captions(tmp_path, "train", captions="c.json", pictures=".")


@pytest.mark.parametrize(
    ("tokens", "names", "message"),
    [
        ("1.jpg a dog\n", "1.jpg\n", r"t\.txt, line 1: this must be `picture\.jpg#0`, a tab and a caption, but is '1"),
        ("1.jpg\ta dog\n", "1.jpg\n", r"line 1: this must be `picture\.jpg#0`, a tab and a caption"),
        ("1.jpg#0\t\n", "1.jpg\n", r"line 1: a caption must have words, but is empty"),
        ("1.jpg#0\ta\n", "1.jpg\n2.jpg\n", r"Images\.txt, line 2: the pictures 2\.jpg are unknown: t\.txt has no"),
        ("1.jpg#0\ta\n", "\n", r"Images\.txt: the file names no picture\."),
        (b"1.jpg#0\t\xff\n", "1.jpg\n", r"t\.txt, line 1: this is not text in UTF-8"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named(tokens, names, message, tmp_path) -> None:
    write(tmp_path / "t.txt", tokens)
    write(tmp_path / "Flickr_8k.trainImages.txt", names)
    with pytest.raises(InputError, match=message):
        read_captions(tmp_path, "train", captions="t.txt", pictures=".")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A dog's  tri-colored\tball, in the grass .", "a dog's tri-colored ball in the grass"),
        ("«Café» — the Man’s 2nd\n", "café the man's 2nd"),
        ("dog/cat & $5 - ' 'quoted'", "dog cat 5 'quoted'"),
        ("Cafe\u0301 नमस्ते 犬。", "café नमस्ते 犬"),
        ("?!", ""),
    ],
)
def test_cleaning_keeps_letters_digits_apostrophes_and_hyphens(text, cleaned) -> None:
    assert clean_caption(text) == cleaned
    assert clean_caption(cleaned) == cleaned


def test_json_in_any_of_its_encodings(tmp_path) -> None:
    content = json.dumps(
        {"images": [ONE], "annotations": [{"image_id": 1, "caption": "ein süßer Fuchs"}]}, ensure_ascii=False
    )
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / "c.json").write_bytes(content.encode(encoding))
        found = read_captions(tmp_path, "train", captions="c.json", pictures=".")
        assert [texts for _, texts in found.items] == [("ein süßer Fuchs",)]


def test_a_name_that_is_no_text_but_bytes_is_a_name(tmp_path) -> None:
    write(tmp_path / JSONL, b'{"file_name": "\\udcff.jpg", "text": "a"}')
    assert read_captions(tmp_path, "train").items[0][0].name == "\udcff.jpg"


@pytest.mark.parametrize("kind", ["a folder", "a pipe"])
def test_what_is_no_file_is_named_and_not_waited_for(kind, tmp_path) -> None:
    path = tmp_path / "train/metadata.jsonl"
    path.parent.mkdir()
    os.mkfifo(path) if kind == "a pipe" else path.mkdir()
    with pytest.raises(InputError, match="train: there is no metadata in this folder"):
        read_captions(tmp_path, "train")
    with pytest.raises(InputError, match=r"metadata\.jsonl must be a readable file, but opening it fails instead: "):
        list(text_lines(path))
