"""Peers that take one transfer syntax alone, and a look at the pixels they got; conversion.rs runs it.

  weaker.py listen PORT FOLDER SYNTAX
  weaker.py get HOST PORT FOLDER SYNTAX STUDIES CLASSES     (lists with commas)
  weaker.py pixels JOBS                                     (a file of JSON lines)

`get` and `pixels` end with a last line of JSON."""
import hashlib
import json
import sys
import warnings

import numpy
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt

warnings.simplefilter("ignore")
GET = "1.2.840.10008.5.1.4.1.2.2.3"
VERIFICATION = "1.2.840.10008.1.1"


def keep(folder):
    """Writes what arrives as a file named by its SOP Instance UID, its data set as it came."""

    def on_store(event):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = event.request.AffectedSOPClassUID
        meta.MediaStorageSOPInstanceUID = event.request.AffectedSOPInstanceUID
        meta.TransferSyntaxUID = event.context.transfer_syntax
        meta.ImplementationClassUID = "2.25.202611"
        with open(f"{folder}/{event.request.AffectedSOPInstanceUID}", "wb") as file:
            file.write(b"\0" * 128 + b"DICM")
            pydicom.filewriter.write_file_meta_info(file, meta)
            file.write(event.request.DataSet.getvalue())
        return 0

    return [(evt.EVT_C_STORE, on_store)]


def listen(port, folder, syntax):
    own = AE(ae_title="WEAKER")
    own.maximum_associations = 10
    own.add_supported_context(VERIFICATION)
    for context in AllStoragePresentationContexts:
        own.add_supported_context(context.abstract_syntax, syntax)
    own.start_server(("127.0.0.1", int(port)), block=True, evt_handlers=keep(folder))


def get(host, port, folder, syntax, studies, classes):
    own = AE(ae_title="WEAKER")
    own.acse_timeout = own.dimse_timeout = own.network_timeout = 60
    own.add_requested_context(GET)
    roles = []
    for name in classes.split(","):
        own.add_requested_context(name, syntax)
        roles.append(build_role(name, scu_role=False, scp_role=True))
    association = own.associate(host, int(port), ae_title="PACS", ext_neg=roles, evt_handlers=keep(folder))
    assert association.is_established, "not established"
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", studies.split(",")
    failed = []
    for status, data in association.send_c_get(query, GET):
        final = status
        if data is not None and "FailedSOPInstanceUIDList" in data:
            failed = data.FailedSOPInstanceUIDList
    association.release()
    failed = [failed] if isinstance(failed, str) else list(failed)
    return {"status": final.Status, "completed": final.NumberOfCompletedSuboperations, "failed": sorted(failed)}


def pixels(jobs):
    """The SHA-256 of the pixels of each file, as the manifest of the test data has it."""
    compared, wrong = 0, []
    for line in open(jobs):
        job = json.loads(line)
        compared += 1
        try:
            data = pydicom.dcmread(job["path"])
            # Raw: without conversion of colours.
            array = numpy.ascontiguousarray(pixel_array(data, raw=True))
        except Exception as error:  # the test names each of them
            wrong.append(f"{job['name']}: {error!r}")
            continue
        array = array.astype(array.dtype.newbyteorder("<"))
        if hashlib.sha256(array.tobytes()).hexdigest() != job["sha256"]:
            wrong.append(job["name"])
    return {"compared": compared, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
