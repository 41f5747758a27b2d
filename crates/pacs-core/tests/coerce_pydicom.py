"""Compares stored files with what coercion made of them, as pydicom reads both.

Reads lines of original, coerced and the tags that may differ (hexadecimal, between commas), with tabs between
them. Answers each with a line of JSON: the tags that differ all the same, and what the coerced one says.
"""

import json
import sys
import warnings

import pydicom

warnings.simplefilter("ignore")

HOW_NOT_WHAT = {0x00080005, 0x00080001}


def read(path):
    data_set = pydicom.dcmread(path, force=True)
    data_set.decode()
    return data_set


def value(element):
    """What an element says, for comparison."""
    if element.VR == "SQ":
        return [item(one) for one in element.value]
    if isinstance(element.value, bytes):
        return element.value + b"\0" * (len(element.value) % 2)
    if element.VR in ("LT", "ST", "UT"):
        return (element.value or "").rstrip(" \0")
    return element.value


def item(data_set):
    return {
        element.tag: value(element)
        for element in data_set
        if element.tag not in HOW_NOT_WHAT and element.tag.element != 0
    }


def compare(original, coerced, may_differ):
    before, after = read(original), read(coerced)
    skipped = {int(tag, 16) for tag in may_differ.split(",")} | {0x04000561}
    one = {tag: said for tag, said in item(before).items() if tag not in skipped}
    other = {tag: said for tag, said in item(after).items() if tag not in skipped}
    differing = [f"{int(tag):08X}" for tag in one.keys() | other.keys() if one.get(tag) != other.get(tag)]
    last = after.OriginalAttributesSequence[-1]
    changed = last.ModifiedAttributesSequence[0]
    nonconforming = last.get("NonconformingModifiedAttributesSequence", [])
    return {
        "differing": sorted(differing),
        "name": str(after.PatientName),
        "patronymic": after.PatientName.middle_name,
        "id": after.PatientID,
        "charset": after.SpecificCharacterSet,
        "others": [one.PatientID for one in after.OtherPatientIDsSequence],
        "request": after.RequestAttributesSequence[0].RequestedProcedureID,
        "reason": last.ReasonForTheAttributeModification,
        "items": len(after.OriginalAttributesSequence) - len(before.get("OriginalAttributesSequence", [])),
        "previous_name": str(before.get("PatientName", "")),
        "recorded_name": str(changed.get("PatientName", "")),
        "nonconforming": [f"{int(one.SelectorAttribute):08X}" for one in nonconforming],
        "recorded": [f"{int(element.tag):08X}" for element in changed],
    }


for line in sys.stdin:
    original, coerced, may_differ = line.rstrip("\n").split("\t")
    try:
        said = compare(original, coerced, may_differ)
    except Exception as error:  # whatever it is, the test is to see it
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said), flush=True)
