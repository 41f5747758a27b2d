"""What a picture must look like: its window applied by pydicom, on a small grid; interop_ohif.rs runs it.

  expected.py GRID FILE...

One line of JSON: for each FILE the mean grays of GRID x GRID fields, row by row."""
import json
import sys

import numpy
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut, apply_windowing


def grays(path, grid):
    dataset = dcmread(path)
    values = apply_modality_lut(dataset.pixel_array, dataset)
    # As PS3.3 C.11.2.1.2 says; it gives values in the range of the stored ones.
    shown = apply_windowing(values, dataset).astype(float)
    low = apply_windowing(numpy.array([-1e9]), dataset)[0]
    high = apply_windowing(numpy.array([1e9]), dataset)[0]
    shown = (shown - low) / (high - low) * 255
    # A field is no whole number of pixels: each pixel is first made `grid` a side.
    side = shown.shape[0]
    assert shown.shape == (side, side), "a square is wanted"
    rows = numpy.repeat(shown, grid, axis=0).reshape(grid, side, side).mean(axis=1)
    fields = numpy.repeat(rows, grid, axis=1).reshape(grid, grid, side).mean(axis=2)
    return [round(gray) for gray in fields.flatten().tolist()]


if __name__ == "__main__":
    print(json.dumps({"grays": [grays(path, int(sys.argv[1])) for path in sys.argv[2:]]}))
