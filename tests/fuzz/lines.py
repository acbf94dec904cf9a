"""Changes of files that are read line by line: lines of JSON, CSV and plain text."""

from random import Random

from .values import changed_json, value

_ENDS = (b"\r\n", b"\r", b"\n\n", b"", b"\x0b", b"\xe2\x80\xa8")
_PIECES = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xc3",
        b'"',
        b'""',
        b",",
        b",,,,",
        b"\t",
        b"#",
        b"{",
        b"}" * 9,
        b"\xef\xbb\xbf",
    ),
    *(b"a" * 70_000, b"a" * 140_000, b"[" * 100_000, b"9" * 5000, b"\\u0000", b"\\ud800", b"../" * 30, b" "),
)


def changed_lines(path: str, content: bytes, random: Random) -> tuple[bytes, str]:
    """The file with a line changed."""
    lines = content.split(b"\n")
    index = random.randrange(len(lines))
    line = lines[index]
    match random.choice(
        ("json", "json", "json", "piece", "piece", "drop", "twice", "many", "end", "swap", "encode", "cell")
    ):
        case "json" if path.endswith(".jsonl"):
            lines[index], word = changed_json(line, random)
            return b"\n".join(lines), word
        case "drop":
            del lines[index]
        case "twice":
            lines.insert(index, line)
        case "many":
            lines[index:index] = [line] * 2000
        case "end":
            return random.choice(_ENDS).join(lines), "line-ends"
        case "swap":
            there = random.randrange(len(lines))
            lines[index], lines[there] = lines[there], line
        case "encode":
            other = random.choice(("utf-16", "utf-32", "cp500"))
            return content.decode("utf-8", "replace").encode(other, "replace"), "encoding"
        case "cell":
            cells = line.split(b",")
            cells[random.randrange(len(cells))] = str(value(random)).encode("utf-8", "surrogatepass")
            lines[index] = b",".join(cells)
        case _:
            at = random.randrange(len(line) + 1)
            lines[index] = line[:at] + random.choice(_PIECES) + line[at:]
    return b"\n".join(lines), "line"
