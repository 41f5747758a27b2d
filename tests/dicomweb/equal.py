"""Whether pairs of files hold equal data sets for pydicom; the test in stow_metadata.rs runs it.

  equal.py < LINES

Each line is two paths with a tab between them; for each, one line: a JSON list of differences."""
import json
import sys
import warnings

from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.tag import Tag

warnings.simplefilter("ignore")

# Group lengths and padding belong to the encoding, the character set as well: text is compared.
PASSED_OVER = {Tag(0x00080005), Tag(0xFFFCFFFC)}
PIXELS = {Tag(0x7FE00008), Tag(0x7FE00009), Tag(0x7FE00010)}
# The tables of where frames begin are made anew.
TABLES = {Tag(0x7FE00001), Tag(0x7FE00002)}


def tags(dataset):
    return {tag for tag in dataset.keys() if tag.element != 0 and tag not in PASSED_OVER}


def text(value):
    return str(value).strip(" \0")


def plain(element):
    """The values of ELEMENT, without what only their spelling adds."""
    value = element.value
    if value is None or isinstance(value, (bytes, bytearray)) or value == "":
        return bytes(value or b"").rstrip(b"\0") if element.VR in ("UN",) else bytes(value or b"")
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        values = list(value)
    else:
        values = [value]
    if element.VR in ("DS", "IS"):
        return [float(one) if one not in ("", None) else None for one in values]
    if element.VR in ("FL", "FD", "US", "SS", "UL", "SL", "UV", "SV"):
        return [repr(one) for one in values]
    if element.VR == "PN":
        return ["=".join(group.strip() for group in str(one).split("=")).rstrip("=") for one in values]
    return [text(one) for one in values]


def frames(dataset):
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    return [bytes(frame).rstrip(b"\0") for frame in generate_frames(dataset.PixelData, number_of_frames=count)]


def swapped(data, size):
    return b"".join(data[at : at + size][::-1] for at in range(0, len(data), size))


def binary_equal(one, other, vr, is_big):
    if not is_big:
        return one.rstrip(b"\0") == other.rstrip(b"\0")
    size = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(vr, 1)
    return swapped(one, size).rstrip(b"\0") == other.rstrip(b"\0")


def compare(one, other, path, is_big, out):
    for tag in sorted(tags(one) | tags(other)):
        name = f"{path}{tag}"
        if tag not in one or tag not in other:
            if tag not in TABLES:
                out.append(f"{name} only in the {'first' if tag in one else 'second'}")
            continue
        try:
            first, second = one[tag], other[tag]
            if tag in TABLES:
                continue
            if tag in PIXELS and first.is_undefined_length:
                if path == "" and frames(one) != frames(other):
                    out.append(f"{name} frames")
                continue
            if first.VR == "SQ" and second.VR == "SQ":
                if len(first.value) != len(second.value):
                    out.append(f"{name} items {len(first.value)} and {len(second.value)}")
                    continue
                for at, (a, b) in enumerate(zip(first.value, second.value)):
                    compare(a, b, f"{name}/{at + 1}/", is_big, out)
                continue
            if first.VR != second.VR:
                out.append(f"{name} VR {first.VR} and {second.VR}")
                continue
            a, b = plain(first), plain(second)
            if isinstance(a, bytes) and isinstance(b, bytes):
                same = binary_equal(a, b, first.VR, is_big)
            else:
                same = (a or [""]) == (b or [""]) or not any(a or []) and not any(b or [])
            if not same:
                out.append(f"{name} {first.VR} {str(a)[:60]} and {str(b)[:60]}")
        except Exception as error:
            out.append(f"{name} unreadable: {error!r}"[:200])


for line in sys.stdin:
    left, right = line.rstrip("\n").split("\t")
    out = []
    try:
        one, other = dcmread(left, force=True), dcmread(right)
        syntax = getattr(getattr(one, "file_meta", None), "TransferSyntaxUID", "")
        compare(one, other, "", syntax == "1.2.840.10008.1.2.2", out)
    except Exception as error:
        out.append(f"pydicom cannot: {error!r}")
    print(json.dumps(out))
