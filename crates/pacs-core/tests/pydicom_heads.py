"""Prints, for each DICOM file named on standard input, what pydicom reads of its indexed attributes.

One line of JSON per file: {"file": ..., "attributes": {"00100010": "..." | [...]}} or {"file": ..., "error": ...}.
The first argument is the list of indexed tags, in hexadecimal, between commas.
"""

import json
import sys
import warnings

import pydicom
from pydicom.multival import MultiValue

warnings.simplefilter("ignore")


def text(element):
    """The value as text, several values between backslashes."""
    value = element.value
    if value is None:
        return ""
    if element.VR == "AT":
        values = value if isinstance(value, (MultiValue, list)) else [value]
        return "\\".join(f"{int(v):08X}" for v in values)
    if isinstance(value, (MultiValue, list)):
        return "\\".join(single(v) for v in value)
    return single(value)


def single(value):
    if value is None:
        return ""
    original = getattr(value, "original_string", None)
    if original is not None and not hasattr(value, "components"):
        return str(original).strip(" \0")
    return str(value)


def attributes(data_set, wanted=None):
    found = {}
    for tag in list(data_set.keys()):
        if wanted is not None and int(tag) not in wanted:
            continue
        element = data_set[tag]
        key = f"{int(tag):08X}"
        if element.VR == "SQ":
            found[key] = [attributes(item) for item in element.value]
        elif element.VR not in ("OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"):
            found[key] = text(element)
    return found


def main():
    wanted = {int(tag, 16) for tag in sys.argv[1].split(",")}
    for line in sys.stdin:
        name = line.rstrip("\n")
        try:
            data_set = pydicom.dcmread(name, force=True, stop_before_pixels=True)
            answer = {"file": name, "attributes": attributes(data_set, wanted)}
        except Exception as error:  # noqa: BLE001 - what pydicom cannot read is an answer too
            answer = {"file": name, "error": type(error).__name__}
        print(json.dumps(answer))


main()
