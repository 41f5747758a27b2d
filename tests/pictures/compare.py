"""Rendered pictures beside those that pydicom, pylibjpeg and numpy make of the same files; the test
in interop_rendered.rs runs it.

  compare.py < PAIRS

For each line of PAIRS, a DICOM file and a PNG with a tab between them, one line: a JSON object with
the greatest and the mean difference of samples of the first frame, or why there is none to compare.
What is expected is computed as PS3.3 C.11 and C.7.6.3.1 say, in double precision."""
import json
import sys
import warnings

import numpy
from PIL import Image
from pydicom import config, dcmread
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

warnings.simplefilter("ignore")
config.settings.reading_validation_mode = config.IGNORE


def group(dataset, keyword):
    """An item of the functional groups of the first frame, or of all frames."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for item in getattr(dataset, groups, [])[:1]:
            if getattr(item, keyword, None):
                return getattr(item, keyword)[0]
    return dataset


def first(value):
    return float(value[0] if hasattr(value, "__iter__") and not isinstance(value, str) else value)


def modality(dataset, stored):
    if getattr(dataset, "ModalityLUTSequence", None):
        return apply_modality_lut(stored, dataset).astype(float)
    item = group(dataset, "PixelValueTransformationSequence")
    slope = float(getattr(item, "RescaleSlope", None) or 1)
    return stored.astype(float) * slope + float(getattr(item, "RescaleIntercept", None) or 0)


def table(item, values):
    count, start, bits = item.LUTDescriptor
    data = item["LUTData"].value
    if isinstance(data, bytes):
        data = numpy.frombuffer(data, "<u2" if len(data) >= 2 * (count or 65536) else "u1")
    data = numpy.asarray(data, float)
    places = numpy.clip(numpy.round(values) - start, 0, len(data) - 1).astype(int)
    return data[places] / (2**bits - 1)


def window(item, values):
    center, width = first(item.WindowCenter), first(item.WindowWidth)
    function = getattr(item, "VOILUTFunction", None) or "LINEAR"
    if function == "SIGMOID":
        return 1 / (1 + numpy.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT":
        return numpy.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:
        return (values > center - 0.5).astype(float)
    return numpy.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def has_window(item):
    if not hasattr(item, "WindowCenter") or not hasattr(item, "WindowWidth"):
        return False
    if item.WindowCenter in (None, "") or item.WindowWidth in (None, ""):
        return False
    least = 1 if (getattr(item, "VOILUTFunction", None) or "LINEAR") == "LINEAR" else 1e-12
    return first(item.WindowWidth) >= least


def padding(dataset, stored):
    if "PixelPaddingValue" not in dataset:
        return numpy.zeros(stored.shape, bool)
    value = int(dataset.PixelPaddingValue)
    limit = int(getattr(dataset, "PixelPaddingRangeLimit", value))
    if getattr(dataset, "PixelRepresentation", 0) == 1:
        # Written as US although the pixels are signed.
        value, limit = (number - 65536 if number > 32767 else number for number in (value, limit))
    return (stored >= min(value, limit)) & (stored <= max(value, limit))


def grey(dataset, stored):
    values = modality(dataset, stored)
    pad = padding(dataset, stored)
    item = group(dataset, "FrameVOILUTSequence")
    bits = getattr(dataset, "BitsStored", 32)
    is_plain = numpy.array_equal(values, stored) and getattr(dataset, "PixelRepresentation", 0) == 0
    if getattr(item, "VOILUTSequence", None):
        part = table(item.VOILUTSequence[0], values)
    elif has_window(item):
        part = window(item, values)
    elif bits <= 8 and is_plain and "PixelData" in dataset:
        part = values / (2**bits - 1)
    else:
        shown = values[~pad] if not pad.all() else values
        least, most = shown.min(), shown.max()
        part = (values - least) / (most - least) if most > least else values * 0
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        part = 1 - part
    part[pad] = 0
    return numpy.floor(part * 255 + 0.5).astype(int)


def colour(dataset, samples):
    shift = max(getattr(dataset, "BitsStored", 8) - 8, 0)
    return samples.astype(int) >> shift


def expected(dataset):
    frame = pixel_array(dataset, index=0)
    if dataset.SamplesPerPixel == 3:
        return colour(dataset, frame)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        mapped = apply_color_lut(frame, dataset)
        bits = dataset.RedPaletteColorLookupTableDescriptor[2]
        return mapped.astype(int) >> (8 if bits > 8 else 0)
    return grey(dataset, frame)


def compare(name, picture):
    dataset = dcmread(name, force=True)
    wanted = expected(dataset)
    given = numpy.asarray(Image.open(picture)).astype(int)
    answer = {"width": given.shape[1], "height": given.shape[0]}
    answer["photometric"] = dataset.PhotometricInterpretation
    if given.shape != wanted.shape:
        answer["shape"] = [list(given.shape), list(wanted.shape)]
        return answer
    difference = numpy.abs(given - wanted)
    answer["most"] = int(difference.max())
    answer["mean"] = float(difference.mean())
    return answer


for line in sys.stdin:
    name, picture = line.rstrip("\n").split("\t")
    try:
        answer = compare(name, picture)
    except Exception as error:  # what pydicom cannot is no fault of ours
        answer = {"cannot": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps(answer))
