"""Compares data sets before and after a conversion, element by element and pixel by pixel.

Reads lines of JSON: {"name", "original", "converted": [paths], "pixel_sha256"}. Writes one line of
JSON for each: {"name", "pixels": files whose pixels were compared, "problems": [texts]}.
Elements that a conversion may change or leave out are not compared: pixel data itself, where its
frames are, group lengths and Length to End, Planar Configuration.
"""

import hashlib
import json
import sys
import warnings

import numpy
import pydicom
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pydicom.values import convert_SQ

warnings.simplefilter("ignore")
config.settings.reading_validation_mode = config.IGNORE
# UN is little endian whatever is around it (PS3.5 6.2.2); pydicom would read it as big endian.
config.replace_un_with_known_vr = False

# Bytes of one number of the VRs whose values pydicom leaves as they stand in the file.
UNIT = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

# How far apart decoders of lossy syntaxes may be, where pydicom has one.
LOSSY = {"1.2.840.10008.1.2.4.50": 3, "1.2.840.10008.1.2.4.51": 3}

MAY_CHANGE = {0x00080001, 0x00280006, 0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00010}


def elements(dataset):
    return {e.tag: e for e in dataset if e.tag.element != 0 and int(e.tag) not in MAY_CHANGE}


def normal(value):
    if isinstance(value, bytes):
        # Odd lengths are made even, and text is bytes where it is UN.
        return value.rstrip(b" \0")
    if isinstance(value, str):
        return value.rstrip(" \0")
    if isinstance(value, (list, pydicom.multival.MultiValue)):
        return [normal(v) for v in value]
    return value


def as_bytes(element):
    """The value as little endian bytes, for those that are of another VR now."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, True
    write_data_element(out, element, ["iso8859"])
    return out.getvalue()[8:]


def little(element, is_little):
    """The value, in little endian where it is bytes."""
    unit = UNIT.get(element.VR)
    if is_little or unit is None or not isinstance(element.value, bytes):
        return element.value
    whole = len(element.value) - len(element.value) % unit
    array = numpy.frombuffer(element.value[:whole], f"u{unit}").byteswap()
    return array.tobytes() + element.value[whole:]


def compare(path, before, after, orders, problems):
    before, after = elements(before), elements(after)
    for tag in sorted(set(before) | set(after)):
        here = f"{path}{tag}"
        if tag not in before or tag not in after:
            problems.append(f"{here} is only {'before' if tag in before else 'after'}")
            continue
        one, two = before[tag], after[tag]
        if one.VR == "UN" and isinstance(two.value, Sequence):
            one = DataElement(tag, "SQ", convert_SQ(one.value, True, True))
        if isinstance(one.value, Sequence) and isinstance(two.value, Sequence):
            if len(one.value) != len(two.value):
                problems.append(f"{here} has {len(one.value)} items, then {len(two.value)}")
            for at, items in enumerate(zip(one.value, two.value)):
                compare(f"{here}[{at}]", *items, orders, problems)
            continue
        if tag == 0x00280004 and one.value.startswith("YBR_") and two.value == "RGB":
            # Decoding gives RGB; who compares the pixels sees whether it does.
            continue
        ones, twos = (normal(little(e, order)) for e, order in zip((one, two), orders))
        same = ones == twos or repr(ones) == repr(twos)
        if not same and one.VR != two.VR:
            try:
                same = normal(as_bytes(one)) == normal(as_bytes(two))
            except Exception as error:  # whatever pydicom thinks of such a value
                problems.append(f"{here}: {error}")
                continue
        if not same:
            problems.append(f"{here} {one.VR} {str(ones)[:60]!r}, then {two.VR} {str(twos)[:60]!r}")


def is_little(syntax):
    try:
        return syntax.is_little_endian
    except ValueError:  # one that pydicom does not know; only one is big endian
        return True


def pixels(dataset):
    try:
        return dataset.pixel_array
    except Exception:  # no pixels, or none that pydicom can read
        return None


for line in sys.stdin:
    job = json.loads(line)
    problems, compared = [], 0
    try:
        before = pydicom.dcmread(job["original"], force=True)
    except Exception as error:
        problems.append(f"pydicom cannot read the original: {type(error).__name__}")
        print(json.dumps({"name": job["name"], "pixels": 0, "problems": problems}), flush=True)
        continue
    wanted = pixels(before)
    order = before.file_meta.get("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    for path in job["converted"]:
        after = pydicom.dcmread(path)
        mine = []
        try:
            syntaxes = (order, after.file_meta.TransferSyntaxUID)
            orders = [is_little(s) for s in syntaxes]
            compare("", before, after, orders, mine)
        except Exception as error:
            mine.append(f"pydicom: {type(error).__name__}")
        found = pixels(after)
        if wanted is not None:
            compared += 1
            if found is None or found.shape != wanted.shape:
                mine.append("the pixels differ")
            elif not numpy.array_equal(wanted, found):
                far = numpy.abs(wanted.astype(numpy.int64) - found.astype(numpy.int64)).max()
                is_lossy = order in LOSSY and far <= LOSSY[order]
                if not is_lossy:
                    mine.append("the pixels differ")
        elif "PixelData" in before:
            digest = job["pixel_sha256"]
            if found is not None and digest:
                compared += 1
                array = numpy.ascontiguousarray(found.astype(found.dtype.newbyteorder("<")))
                if hashlib.sha256(array.tobytes()).hexdigest() != digest:
                    mine.append("the pixels are not those of the manifest")
        problems += [f"{path.rsplit('/', 1)[-1]}: {problem}" for problem in mine]
    print(json.dumps({"name": job["name"], "pixels": compared, "problems": problems}), flush=True)
