"""Rendered pictures beside those that pydicom, pylibjpeg, imagecodecs and numpy make of the same files; the test
in interop_rendered.rs runs it.

  compare.py < PAIRS

For each line of PAIRS, a DICOM file, its transfer syntax, a PNG and the number of a frame with tabs
between them, one line: a JSON object with the greatest and the mean difference of samples of that frame, or why there is none
to compare. What is expected is computed as PS3.3 C.11 and C.7.6.3.1 say: grey in double precision,
YBR in whole numbers, so that nothing is rounded but once."""
import json
import subprocess
import sys
import tempfile
import warnings
import zlib

import imagecodecs
import numpy
from PIL import Image
from pydicom import config, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.rle import _rle_decode_segment
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

warnings.simplefilter("ignore")
config.settings.reading_validation_mode = config.IGNORE

# What a data set leaves out that is nearly always the same.
LEFT_OUT = {"SamplesPerPixel": 1, "PixelRepresentation": 0}

RLE = "1.2.840.10008.1.2.5"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
JPEG = "1.2.840.10008.1.2.4.5"
JPEG_XL = [f"1.2.840.10008.1.2.4.{last}" for last in (110, 111, 112)]


def group(dataset, keyword, index):
    """An item of the functional groups of the frame, or of all frames."""
    per_frame = getattr(dataset, "PerFrameFunctionalGroupsSequence", None) or []
    shared = getattr(dataset, "SharedFunctionalGroupsSequence", None) or []
    for item in list(per_frame[index : index + 1]) + list(shared[:1]):
        if getattr(item, keyword, None):
            return getattr(item, keyword)[0]
    return dataset


def first(value):
    return float(value[0] if hasattr(value, "__iter__") and not isinstance(value, str) else value)


def modality(dataset, stored, index):
    if getattr(dataset, "ModalityLUTSequence", None):
        return apply_modality_lut(stored, dataset).astype(float)
    item = group(dataset, "PixelValueTransformationSequence", index)
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


def grey(dataset, stored, index):
    values = modality(dataset, stored, index)
    pad = padding(dataset, stored)
    item = group(dataset, "FrameVOILUTSequence", index)
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


def rounded(numerator, denominator):
    """The nearest whole number, halves upwards."""
    return (2 * numerator + denominator) // (2 * denominator)


def rgb(samples):
    """YBR_FULL to RGB by the inverse of PS3.3 C.7.6.3.1.2, as ITU-T T.871 has it."""
    y, cb, cr = (samples[..., at].astype(numpy.int64) for at in range(3))
    cb, cr = cb - 128, cr - 128
    red = rounded(1000 * y + 1402 * cr, 1000)
    green = rounded(587000 * y - 202008 * cb - 419198 * cr, 587000)
    blue = rounded(1000 * y + 1772 * cb, 1000)
    return numpy.clip(numpy.stack([red, green, blue], -1), 0, 255)


def colour(dataset, samples, photometric):
    shift = max(getattr(dataset, "BitsStored", 8) - 8, 0)
    samples = samples.astype(int) >> shift
    return rgb(samples) if photometric in ("YBR_FULL", "YBR_FULL_422") else samples


def bytes_of(dataset, syntax, index):
    """The bytes of a frame whose transfer syntax pydicom has no decoder for; None where it has one."""
    is_bits = dataset.get("BitsAllocated") == 1
    if syntax not in (ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAMES) and not (syntax == RLE and is_bits):
        return None
    count = int(dataset.get("NumberOfFrames") or 1)
    frame = get_frame(dataset.PixelData, index, number_of_frames=count)
    if syntax == DEFLATED_FRAMES:
        return zlib.decompressobj(-15).decompress(frame)
    if syntax == RLE:
        start = int.from_bytes(frame[4:8], "little")
        return bytes(_rle_decode_segment(frame[start:]))
    return frame


def without_jpeg(name, index):
    """A frame of what DCMTK decodes, where libjpeg does not take it."""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as decoded:
        subprocess.run(["dcmdjpeg", name, decoded.name], check=True, capture_output=True)
        dataset = dcmread(decoded.name)
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        return decoder.as_array(dataset, index=index, raw=True)


def decoded(dataset, name, syntax, index):
    """A frame as it was decoded, in the colours that it has then, and the name of those."""
    if syntax in JPEG_XL:
        count = int(dataset.get("NumberOfFrames") or 1)
        frame = imagecodecs.jpegxl_decode(get_frame(dataset.PixelData, index, number_of_frames=count))
        if dataset.PixelRepresentation:
            frame = frame.view(frame.dtype.str.replace("u", "i"))
        return frame, "RGB" if frame.ndim == 3 else dataset.PhotometricInterpretation
    raw = bytes_of(dataset, syntax, index)
    if raw is not None:
        shape = (dataset.Rows, dataset.Columns)
        if dataset.BitsAllocated == 1:
            bits = numpy.unpackbits(numpy.frombuffer(raw, "u1"), bitorder="little")
            return bits[: shape[0] * shape[1]].reshape(shape), dataset.PhotometricInterpretation
        kind = ("i" if dataset.PixelRepresentation else "u") + str(dataset.BitsAllocated // 8)
        samples = numpy.frombuffer(raw, "<" + kind)[: shape[0] * shape[1]]
        return samples.reshape(shape), dataset.PhotometricInterpretation
    decoder = get_decoder(syntax)
    try:
        # pydicom would convert colours in single precision.
        frame, told = decoder.as_array(dataset, index=index, raw=True)
    except RuntimeError:
        if not syntax.startswith(JPEG):
            raise
        frame, told = without_jpeg(name, index)
    return frame, str(told["photometric_interpretation"])


def expected(dataset, name, syntax, index):
    frame, photometric = decoded(dataset, name, syntax, index)
    if dataset.SamplesPerPixel == 3:
        return colour(dataset, frame, photometric)
    if photometric == "PALETTE COLOR":
        mapped = apply_color_lut(frame, dataset)
        bits = dataset.RedPaletteColorLookupTableDescriptor[2]
        return mapped.astype(int) >> (8 if bits > 8 else 0)
    return grey(dataset, frame, index)


def compare(name, syntax, picture, index):
    dataset = dcmread(name, force=True)
    dataset.file_meta.TransferSyntaxUID = syntax
    for keyword, value in LEFT_OUT.items():
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    wanted = expected(dataset, name, syntax, index)
    given = numpy.asarray(Image.open(picture)).astype(int)
    answer = {"width": given.shape[1], "height": given.shape[0]}
    if given.shape != wanted.shape:
        answer["shape"] = [list(given.shape), list(wanted.shape)]
        return answer
    difference = numpy.abs(given - wanted)
    answer["most"] = int(difference.max())
    answer["mean"] = float(difference.mean())
    return answer


for line in sys.stdin:
    name, syntax, picture, number = line.rstrip("\n").split("\t")
    try:
        answer = compare(name, syntax, picture, int(number) - 1)
    except Exception as error:  # what pydicom cannot is no fault of ours
        answer = {"cannot": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps(answer))
