"""The DICOM JSON model of files as pydicom makes it; the test in interop_dicomweb.rs runs it.

  json_model.py < NAMES

For each line of NAMES, which is a path, one line: a JSON object, or null where pydicom cannot."""
import json
import sys
import warnings

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset

warnings.simplefilter("ignore")

def depth(value):
    """How deep lists and objects stand in one another."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


for name in sys.stdin:
    try:
        dataset = dcmread(name.rstrip("\n"), force=True)
        dataset.file_meta = FileMetaDataset() if not hasattr(dataset, "file_meta") else dataset.file_meta
        model = dataset.to_json_dict(
            bulk_data_threshold=1024,
            bulk_data_element_handler=lambda element: "bulk",
            suppress_invalid_tags=True,
        )
        # The test reads no deeper JSON.
        text = json.dumps(model) if depth(model) < 120 else "null"
    except Exception as error:  # what pydicom cannot is no fault of ours
        print(f"{name.strip()}: {error!r}", file=sys.stderr)
        text = "null"
    print(text)
