"""dicomweb-client as a client of the server under test; the tests in interop_dicomweb.rs run it.

  peer.py COMMAND URL [ARGUMENTS]

Every command ends with exit status 0 and a last line of JSON, or with a traceback."""
import hashlib
import json
import sys
from io import BytesIO

from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread


def digest(data):
    return hashlib.sha256(data).hexdigest()


def pixels(dataset):
    return digest(dataset.PixelData)


def search(client, name):
    """Finds STUDY by the name of its patient, its series and its instances, on every way there is."""
    studies = client.search_for_studies(search_filters={"PatientName": name}, fields=["PatientAge"])
    study = studies[0]["0020000D"]["Value"][0]
    by_uid = client.search_for_studies(search_filters={"StudyInstanceUID": study})
    series = client.search_for_series(study)
    all_series = client.search_for_series(search_filters={"0020000D": study})
    series_uid = series[0]["0020000E"]["Value"][0]
    instances = client.search_for_instances(study, series_uid)
    of_study = client.search_for_instances(study)
    anywhere = client.search_for_instances(search_filters={"StudyInstanceUID": study})
    paged = [
        client.search_for_instances(study, series_uid, limit=1, offset=at)[0]["00080018"]["Value"][0]
        for at in range(len(instances))
    ]
    fuzzy = client.search_for_studies(search_filters={"PatientName": name.lower()}, fuzzymatching=True)
    nothing = client.search_for_studies(search_filters={"PatientID": "NOBODY"})
    uids = [instance["00080018"]["Value"][0] for instance in instances]
    return {
        "studies": len(studies),
        "by_uid": len(by_uid),
        "series": [len(series), len(all_series)],
        "instances": [len(instances), len(of_study), len(anywhere)],
        "pages_are_the_whole": paged == uids,
        "fuzzy": len(fuzzy),
        "nothing": len(nothing),
        "has_age": "00101010" in studies[0],
    }


def retrieve(client, study):
    """Retrieves STUDY on every way there is."""
    by_study = client.retrieve_study(study)
    series_uid = by_study[0].SeriesInstanceUID
    instance_uid = by_study[0].SOPInstanceUID
    by_series = client.retrieve_series(study, series_uid)
    by_instance = client.retrieve_instance(study, series_uid, instance_uid)
    metadata = {
        "study": len(client.retrieve_study_metadata(study)),
        "series": len(client.retrieve_series_metadata(study, series_uid)),
        "instance": client.retrieve_instance_metadata(study, series_uid, instance_uid)["00080018"]["Value"][0],
    }
    frames = client.retrieve_instance_frames(study, series_uid, instance_uid, [1])
    described = client.retrieve_instance_metadata(study, series_uid, instance_uid)
    bulk = client.retrieve_bulkdata(described["7FE00010"]["BulkDataURI"])
    iterated = [dataset.SOPInstanceUID for dataset in client.iter_study(study)]
    return {
        "study": sorted(pixels(dataset) for dataset in by_study),
        "series": sorted(pixels(dataset) for dataset in by_series),
        "iterated": len(iterated),
        "instance_is_equal": pixels(by_instance) == pixels(by_study[0]),
        "frame_is_equal": digest(frames[0]) == pixels(by_instance),
        "bulk_is_equal": digest(b"".join(bulk)) == pixels(by_instance),
        "metadata": metadata,
        "instance": instance_uid,
    }


def delete(client, study):
    """Deletes STUDY."""
    client.delete_study(study)
    left = client.search_for_studies(search_filters={"StudyInstanceUID": study})
    return {"left": len(left)}


def store(client, path):
    """Stores the file PATH, in a study that is named and in one that is not; what was said of it."""
    dataset = dcmread(path)
    responses = [
        client.store_instances([dataset], study_instance_uid=dataset.StudyInstanceUID),
        client.store_instances([dataset]),
    ]
    return {
        "stored": [said.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for said in responses],
        "failed": ["FailedSOPSequence" in said for said in responses],
        "instance": dataset.SOPInstanceUID,
    }


def read(client, path):
    """Whether pydicom reads what is served under PATH as a file."""
    dataset = dcmread(BytesIO(client._http_get(path).content))
    return {"instance": dataset.SOPInstanceUID}


COMMANDS = {"store": store, "search": search, "retrieve": retrieve, "delete": delete, "read": read}

if __name__ == "__main__":
    command, url, *arguments = sys.argv[1:]
    print(json.dumps(COMMANDS[command](DICOMwebClient(url), *arguments)))
