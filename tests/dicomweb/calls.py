"""The calls of dicomweb-client that peer.py does not make; the tests in interop_calls.rs run it.

  calls.py COMMAND URL [ARGUMENTS]

Every command ends with exit status 0 and a last line of JSON, or with a traceback."""
import json
import sys

from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session, create_session_from_user_pass

NATIVE = "1.2.840.10008.1.2.1"


def whole(client, study):
    """What comes one after the other, or page by page, is what comes at once."""
    series = client.search_for_series(study)[0]["0020000E"]["Value"][0]
    uids = [found["00080018"]["Value"][0] for found in client.search_for_instances(study, series)]
    rest = client.search_for_instances(study, series, limit=1, get_remaining=True)
    page = client.search_for_studies(limit=1, get_remaining=True)
    iterated = list(client.iter_series(study, series))
    return {
        "pages": sorted(found["00080018"]["Value"][0] for found in rest) == sorted(uids),
        "studies": len(page),
        "iterated": sorted(dataset.SOPInstanceUID for dataset in iterated) == sorted(uids),
    }


def syntaxes(client, study):
    """In which transfer syntaxes the instances of STUDY come, as they are stored and uncompressed."""
    found = client.search_for_instances(study)[0]
    series, instance = found["0020000E"]["Value"][0], found["00080018"]["Value"][0]
    seen = lambda datasets: sorted({str(dataset.file_meta.TransferSyntaxUID) for dataset in datasets})
    answers = []
    for syntax in ("*", NATIVE):
        kinds = (("application/dicom", syntax),)
        datasets = [*client.retrieve_study(study, media_types=kinds), *client.retrieve_series(study, series, media_types=kinds)]
        answers.append(seen([*datasets, client.retrieve_instance(study, series, instance, media_types=kinds)]))
    return {"stored": answers[0], "native": answers[1]}


def parts(client, study):
    """Frames and bulk data of the only instance of STUDY, whole and in part."""
    found = client.search_for_instances(study)[0]
    series, instance = found["0020000E"]["Value"][0], found["00080018"]["Value"][0]
    dataset = client.retrieve_instance(study, series, instance)
    pixels, count = dataset.PixelData, int(dataset.NumberOfFrames)
    length = len(pixels) // count
    frame = lambda number: pixels[(number - 1) * length:number * length]
    numbers = [count, 1, 2]
    kinds = (("application/octet-stream", NATIVE),)
    url = client.retrieve_instance_metadata(study, series, instance)["7FE00010"]["BulkDataURI"]
    return {
        "count": count,
        "frames": client.retrieve_instance_frames(study, series, instance, numbers) == [frame(n) for n in numbers],
        "typed": client.retrieve_instance_frames(study, series, instance, [2], media_types=kinds) == [frame(2)],
        "iterated": list(client.iter_instance_frames(study, series, instance, numbers)) == [frame(n) for n in numbers],
        "bulk": b"".join(client.iter_bulkdata(url)) == pixels,
        # It asks for parts, of which a range is none: the whole comes (RFC 9110 14.2).
        "range": b"".join(client.retrieve_bulkdata(url, byte_range=(10, 99))) == pixels,
        "iterated_range": b"".join(client.iter_bulkdata(url, byte_range=(10, 99))) == pixels,
    }


def rendered(client, study):
    """What each call for a picture gives: the kind of the picture."""
    found = client.search_for_instances(study)[0]
    series, instance = found["0020000E"]["Value"][0], found["00080018"]["Value"][0]
    kind = lambda data: "jpeg" if data[:3] == b"\xff\xd8\xff" else "png" if data[:4] == b"\x89PNG" else "other"
    jpeg, png = ("image/jpeg",), ("image/png",)
    return {
        "instance": [kind(client.retrieve_instance_rendered(study, series, instance, media_types=m)) for m in (jpeg, png)],
        "series": kind(client.retrieve_series_rendered(study, series)),
        "frame": kind(client.retrieve_instance_frames_rendered(study, series, instance, [1], media_types=png)),
    }


def delete(client, study):
    """Deletes an instance of STUDY, and then the rest of its series; what is left each time."""
    found = client.search_for_instances(study)
    series, instance = found[0]["0020000E"]["Value"][0], found[0]["00080018"]["Value"][0]
    left = lambda: len(client.search_for_instances(search_filters={"StudyInstanceUID": study}))
    client.delete_instance(study, series, instance)
    without_one = left()
    client.delete_series(study, series)
    return {"left": [len(found), without_one, left()]}


def status(call):
    try:
        call()
        return 200
    except Exception as error:
        return error.response.status_code


def enter(url, name, secret, wrong):
    """Which statuses a search gets with credentials of each kind."""
    search = lambda client: status(lambda: client.search_for_studies())
    bearer = lambda token: DICOMwebClient(url, headers={"Authorization": f"Bearer {token}"})
    basic = lambda password: DICOMwebClient(url, session=create_session_from_user_pass(name, password))
    delete = status(lambda: bearer(secret).delete_study("1.2.3"))
    return {
        "none": search(DICOMwebClient(url, session=create_session())),
        "bearer": [search(bearer(secret)), search(bearer(wrong))],
        "basic": [search(basic(secret)), search(basic(wrong))],
        "not_in_scope": delete,
    }


COMMANDS = {"whole": whole, "syntaxes": syntaxes, "parts": parts, "rendered": rendered, "delete": delete}

if __name__ == "__main__":
    command, url, *arguments = sys.argv[1:]
    if command == "enter":
        print(json.dumps(enter(url, *arguments)))
    else:
        print(json.dumps(COMMANDS[command](DICOMwebClient(url), *arguments)))
