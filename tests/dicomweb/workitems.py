"""A client of the Worklist Service (PS3.18 11) made of pydicom and requests; the test in api/workitems.rs
runs it.

  workitems.py URL COOKIE TOKEN ACCESSION

It finds the workitem of ACCESSION, reads it in JSON and XML, takes it into work, fetches what is to be read,
says how far it is, and gives it up. The last line is one of JSON."""
import json
import sys
from io import BytesIO
from xml.etree import ElementTree

import requests
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

# Never in an answer (PS3.18 11.5.2).
TRANSACTION = 0x00081195
JSON = "application/dicom+json"
# PS3.4 Table CC.2.5-3: what N-GET never gives empty.
REQUIRED = (
    "SOPClassUID", "SOPInstanceUID", "ScheduledProcedureStepPriority", "ProcedureStepLabel", "WorklistLabel",
    "ScheduledProcedureStepStartDateTime", "ScheduledProcedureStepModificationDateTime", "InputReadinessState",
    "ProcedureStepState",
)
# And what is there, if empty.
PRESENT = (
    "ScheduledProcessingParametersSequence", "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence", "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledWorkitemCodeSequence", "CommentsOnTheScheduledProcedureStep", "InputInformationSequence",
    "StudyInstanceUID", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "AdmissionID", "IssuerOfAdmissionIDSequence", "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence", "ReferencedRequestSequence",
    "ProcedureStepProgressInformationSequence", "UnifiedProcedureStepPerformedProcedureSequence",
)


class Worklist:
    def __init__(self, url, cookie, token):
        self.url = url
        self.session = requests.Session()
        self.session.headers.update({"Cookie": cookie, "X-CSRF-Token": token})

    def get(self, path, accept=JSON, **query):
        answer = self.session.get(self.url + path, params=query, headers={"Accept": accept})
        answer.raise_for_status()
        return answer

    def search(self, **query):
        answer = self.get("/workitems", **query)
        return [Dataset.from_json(found) for found in answer.json()] if answer.status_code == 200 else []

    def send(self, method, path, dataset):
        answer = self.session.request(
            method, self.url + path, data=dataset.to_json(), headers={"Content-Type": JSON}
        )
        return [answer.status_code, answer.headers.get("Warning", "")]


def states(document):
    root = ElementTree.fromstring(document)
    found = (one for one in root.iter() if one.get("keyword") == "ProcedureStepState")
    return [value.text for one in found for value in one]


def wish(state, transaction):
    dataset = Dataset()
    dataset.TransactionUID = transaction
    dataset.ProcedureStepState = state
    return dataset


def main():
    url, cookie, token, accession = sys.argv[1:]
    worklist = Worklist(url, cookie, token)
    [listed] = worklist.search(**{"ReferencedRequestSequence.AccessionNumber": accession})
    path = f"/workitems/{listed.SOPInstanceUID}"
    workitem = Dataset.from_json(worklist.get(path).json())
    missing = [name for name in REQUIRED if not workitem.get(name)]
    missing += [name for name in PRESENT if name not in workitem]
    ours, theirs = generate_uid(prefix=None), generate_uid(prefix=None)
    claimed = worklist.send("PUT", path + "/state", wish("IN PROGRESS", ours))
    taken = worklist.send("PUT", path + "/state", wish("IN PROGRESS", theirs))
    not_ours = worklist.send("PUT", path + "/state", wish("CANCELED", theirs))
    early = worklist.send("PUT", path + "/state", wish("COMPLETED", ours))
    progress, update = Dataset(), Dataset()
    progress.ProcedureStepProgress = "40"
    update.ProcedureStepProgressInformationSequence = [progress]
    said = worklist.send("POST", f"{path}?transaction-uid={ours}", update)
    in_work = Dataset.from_json(worklist.get(path).json())
    instances = []
    for item in workitem.InputInformationSequence:
        for reference in item.ReferencedSOPSequence:
            of_series = item.WADORSRetrievalSequence[0].RetrieveURL
            one = f"{of_series}/instances/{reference.ReferencedSOPInstanceUID}"
            answer = worklist.session.get(one, headers={"Accept": "application/dicom"})
            answer.raise_for_status()
            instances.append(str(dcmread(BytesIO(answer.content)).AccessionNumber))
    performed = in_work.UnifiedProcedureStepPerformedProcedureSequence[0]
    performer = performed.ActualHumanPerformersSequence[0]
    result = {
        "name": str(workitem.PatientName),
        "missing": missing,
        "listed": [str(listed.PatientName), listed.ProcedureStepState],
        "code": workitem.ScheduledWorkitemCodeSequence[0].CodeMeaning,
        "xml": states(worklist.get(path, accept="application/dicom+xml").content),
        "claimed": claimed,
        "taken": taken,
        "not_ours": not_ours,
        "early": early,
        "said": said,
        "in_work": [
            in_work.ProcedureStepState,
            float(in_work.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress),
            performer.HumanPerformerCodeSequence[0].CodeValue,
            str(performer.HumanPerformerName),
        ],
        "is_secret": all(TRANSACTION not in one for one in (listed, workitem, in_work)),
        "instances": instances,
        "given_up": worklist.send("PUT", path + "/state", wish("CANCELED", ours)),
        "again": worklist.send("PUT", path + "/state", wish("CANCELED", ours)),
        "next": [
            [one.SOPInstanceUID != listed.SOPInstanceUID, one.ProcedureStepState]
            for one in worklist.search(ProcedureStepState="SCHEDULED,IN PROGRESS")
        ],
    }
    print(json.dumps(result))


main()
