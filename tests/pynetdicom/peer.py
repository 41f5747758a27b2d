"""pynetdicom as a peer of the server under test; the tests in interop_pynetdicom.rs run it.

  peer.py COMMAND HOST PORT [ARGUMENTS]

Every command ends with exit status 0 and a last line of JSON, or with a traceback.

With AE_TITLE set, that is what it calls itself, else PYNETDICOM.

With DICOM_USER and DICOM_PASSCODE set, associations name that user, and the peer must say that it knows them.

With TLS_CA set, associations go over TLS in both directions: TLS_CA is the file of the authority,
TLS_CERT and TLS_KEY are our own, TLS_VERSION (1.2 or 1.3) is the only version that is spoken."""
import hashlib
import json
import os
import ssl
import sys
import threading

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, UserIdentityNegotiation

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
STEP = "1.2.840.10008.3.1.2.3.3"
AVAILABILITY = "1.2.840.10008.5.1.4.33"


def tls(protocol):
    """A context for PROTOCOL_TLS_CLIENT or PROTOCOL_TLS_SERVER, or None."""
    if "TLS_CA" not in os.environ:
        return None
    context = ssl.SSLContext(protocol)
    context.load_verify_locations(os.environ["TLS_CA"])
    context.verify_mode = ssl.CERT_REQUIRED
    if "TLS_CERT" in os.environ:
        context.load_cert_chain(os.environ["TLS_CERT"], os.environ["TLS_KEY"])
    if "TLS_VERSION" in os.environ:
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[os.environ["TLS_VERSION"]]
        context.minimum_version = context.maximum_version = version
    return context


def entity(*contexts):
    ae = AE(ae_title=os.environ.get("AE_TITLE", "PYNETDICOM"))
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    for context in contexts:
        ae.add_requested_context(*context)
    return ae


def person():
    """The user that associations name, if any (PS3.7 D.3.3.7, type 2)."""
    if "DICOM_USER" not in os.environ:
        return []
    user = UserIdentityNegotiation()
    user.user_identity_type = 2
    user.primary_field = os.environ["DICOM_USER"].encode()
    user.secondary_field = os.environ["DICOM_PASSCODE"].encode()
    user.positive_response_requested = True
    return [user]


def associate(ae, host, port, **more):
    context = tls(ssl.PROTOCOL_TLS_CLIENT)
    if context:
        more["tls_args"] = (context, host)
    named = person()
    more["ext_neg"] = more.get("ext_neg", []) + named
    association = ae.associate(host, int(port), ae_title="PACS", **more)
    assert association.is_established, "not established"
    answered = [type(item).__name__ for item in association.acceptor.user_information]
    assert not named or "UserIdentityNegotiation" in answered, "the user is not known"
    return association


def knock(host, port, times="1"):
    """What so many requests for an association are told: result, source and reason, or the classes of
    query/retrieve that are accepted."""
    told = []
    for _ in range(int(times)):
        ae = entity((VERIFICATION,), (FIND,), (GET,), (MOVE,))
        association = ae.associate(host, int(port), ae_title="PACS", ext_neg=person())
        answer = association.acceptor.primitive
        if association.is_established:
            accepted = {context.abstract_syntax for context in association.accepted_contexts}
            told.append(sorted(accepted - {VERIFICATION}))
            association.release()
        else:
            assert association.is_rejected
            told.append([answer.result, answer.result_source, answer.diagnostic])
    return {"told": told}


def identifier(**keys):
    data = Dataset()
    for keyword, value in keys.items():
        setattr(data, keyword, value)
    return data


def echo(host, port):
    association = associate(entity((VERIFICATION,)), host, port)
    status = association.send_c_echo().Status
    association.release()
    return {"status": status, "released": association.is_released}


def identity(host, port, kind="1"):
    """User identity with a positive response asked for, and an asynchronous operations window."""
    user = UserIdentityNegotiation()
    user.user_identity_type = int(kind)
    user.primary_field = b"somebody" if kind == "1" else b"secret.of.token"
    user.positive_response_requested = True
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 8
    window.maximum_number_operations_performed = 8
    association = associate(entity((VERIFICATION,)), host, port, ext_neg=[user, window])
    answered = [type(item).__name__ for item in association.acceptor.user_information]
    windows = [(item.maximum_number_operations_invoked, item.maximum_number_operations_performed)
               for item in association.acceptor.user_information
               if isinstance(item, AsynchronousOperationsWindowNegotiation)]
    status = association.send_c_echo().Status
    association.release()
    return {"status": status, "answered": answered, "windows": windows}


def store(host, port, *paths):
    """Several transfer syntaxes for one class in contexts of their own; each file goes as it is."""
    files = [dcmread(path) for path in paths]
    pairs = sorted({(f.SOPClassUID, f.file_meta.TransferSyntaxUID) for f in files})
    ae = entity(*pairs)
    association = associate(ae, host, port)
    statuses = [association.send_c_store(f).Status for f in files]
    association.release()
    return {"statuses": statuses}


def find(host, port, level, *keys):
    """KEYWORD=VALUE keys; the matches as text."""
    model = PATIENT_FIND if level == "PATIENT" else FIND
    association = associate(entity((model,)), host, port)
    query = identifier(QueryRetrieveLevel=level, **dict(k.split("=", 1) for k in keys))
    matches, final = [], None
    for status, match in association.send_c_find(query, model):
        final = status.Status
        if match is not None:
            assert match.QueryRetrieveLevel == level
            matches.append({element.keyword: str(element.value) for element in match})
    association.release()
    return {"status": final, "matches": matches}


def cancel_find(host, port):
    association = associate(entity((FIND,)), host, port)
    query = identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName="", PatientID="")
    final, matches = None, 0
    for status, match in association.send_c_find(query, FIND, msg_id=77):
        final = status.Status
        if status.Status in (0xFF00, 0xFF01):
            matches += 1
            if matches == 1:
                association.send_c_cancel(77, query_model=FIND)
    alive = association.is_established
    association.release()
    return {"status": final, "matches": matches, "alive": alive}


def get(host, port, study, cancel=False):
    """C-GET with role selection for CT; the digest of every data set as it arrived."""
    received = []

    def on_store(event):
        received.append(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        if cancel and len(received) == 1:
            event.assoc.send_c_cancel(5, query_model=GET)
        return 0

    ae = entity((GET,), (CT, ExplicitVRLittleEndian))
    association = associate(ae, host, port, ext_neg=[build_role(CT, scu_role=False, scp_role=True)],
                            evt_handlers=[(evt.EVT_C_STORE, on_store)])
    final = None
    query = identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=study)
    for status, _ in association.send_c_get(query, GET, msg_id=5):
        final = status
    alive = association.is_established
    association.release()
    return {"status": final.Status, "received": received, "alive": alive,
            "remaining": final.get("NumberOfRemainingSuboperations"),
            "completed": final.get("NumberOfCompletedSuboperations"),
            "failed": final.get("NumberOfFailedSuboperations")}


def cancel_get(host, port, study):
    return get(host, port, study, cancel=True)


def get_without_role(host, port, study):
    """No role selection: the server may not send C-STORE, and must say so."""
    association = associate(entity((GET,), (CT, ExplicitVRLittleEndian)), host, port)
    final = None
    query = identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=study)
    for status, _ in association.send_c_get(query, GET):
        final = status
    association.release()
    return {"status": final.Status, "failed": final.get("NumberOfFailedSuboperations"),
            "comment": final.get("ErrorComment", "")}


def move(host, port, study, own_port, cancel=False):
    """C-MOVE to ourselves; with cancel, after the first instance."""
    received, cancelled = [], threading.Event()
    association = None

    def on_store(event):
        received.append(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        if cancel and len(received) == 1:
            association.send_c_cancel(9, query_model=MOVE)
            cancelled.set()
        return 0

    own = AE(ae_title="PYNETDICOM")
    own.add_supported_context(CT, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    server = own.start_server(("127.0.0.1", int(own_port)), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)],
                              ssl_context=tls(ssl.PROTOCOL_TLS_SERVER))
    association = associate(entity((MOVE,)), host, port)
    final, pending = None, 0
    query = identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=study)
    for status, _ in association.send_c_move(query, "PYNETDICOM", MOVE, msg_id=9):
        final = status
        pending += status.Status == 0xFF00
    alive = association.is_established
    association.release()
    server.shutdown()
    return {"status": final.Status, "received": received, "alive": alive, "pending": pending,
            "completed": final.get("NumberOfCompletedSuboperations")}


def cancel_move(host, port, study, own_port):
    return move(host, port, study, own_port, cancel=True)


def listen(own_port, folder):
    """A provider of echo and storage that writes nothing but digests, until it is killed."""
    def on_store(event):
        with open(f"{folder}/{event.request.AffectedSOPInstanceUID}", "w") as f:
            f.write(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        return 0

    own = AE(ae_title="PYNETDICOM")
    own.add_supported_context(VERIFICATION)
    own.add_supported_context(CT, [ExplicitVRLittleEndian])
    own.start_server(("127.0.0.1", int(own_port)), block=True, evt_handlers=[(evt.EVT_C_STORE, on_store)],
                     ssl_context=tls(ssl.PROTOCOL_TLS_SERVER))


def commitment_request(transaction, references):
    """References as CLASS=INSTANCE."""
    items = []
    for reference in references:
        sop_class, sop_instance = reference.split("=")
        items.append(identifier(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=sop_instance))
    return identifier(TransactionUID=transaction, ReferencedSOPSequence=items)


def told(event_type, report):
    """What a report says, for JSON."""
    return {"event_type": event_type, "transaction": report.TransactionUID,
            "committed": [item.ReferencedSOPInstanceUID for item in report.get("ReferencedSOPSequence", [])],
            "failed": {item.ReferencedSOPInstanceUID: item.FailureReason
                       for item in report.get("FailedSOPSequence", [])}}


def commit_here(host, port, transaction, *references):
    """Asks, and waits for the report on the same association."""
    reports, done = [], threading.Event()

    def on_report(event):
        reports.append(told(event.event_type, event.event_information))
        return 0x0000, None

    def on_sent(event):
        # Released earlier, the association would end before its response.
        if type(event.message).__name__ == "N_EVENT_REPORT_RSP":
            done.set()

    handlers = [(evt.EVT_N_EVENT_REPORT, on_report), (evt.EVT_DIMSE_SENT, on_sent)]
    association = associate(entity((COMMITMENT,)), host, port, evt_handlers=handlers)
    request = commitment_request(transaction, references)
    status, _ = association.send_n_action(request, 1, COMMITMENT, COMMITMENT_INSTANCE)
    done.wait(60)
    association.release()
    return {"status": status.Status, "reports": reports, "released": association.is_released}


def commit_elsewhere(host, port, own_port, transaction, *references):
    """Asks, releases, and waits for the report on an association with reversed roles."""
    reports, done, roles = [], threading.Event(), []

    def on_report(event):
        reports.append(told(event.event_type, event.event_information))
        done.set()
        return 0x0000, None

    def on_requested(event):
        for role in event.assoc.requestor.role_selection.values():
            roles.append([role.sop_class_uid, role.scu_role, role.scp_role])

    own = AE(ae_title="PYNETDICOM")
    own.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
    server = own.start_server(("127.0.0.1", int(own_port)), block=False, ssl_context=tls(ssl.PROTOCOL_TLS_SERVER),
                              evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report), (evt.EVT_REQUESTED, on_requested)])
    association = associate(entity((COMMITMENT,)), host, port)
    request = commitment_request(transaction, references)
    status, _ = association.send_n_action(request, 1, COMMITMENT, COMMITMENT_INSTANCE)
    association.release()
    done.wait(60)
    server.shutdown()
    return {"status": status.Status, "reports": reports, "roles": roles}


def provide_commitment(own_port, how, peer_port):
    """A provider of commitment until it is killed: fails instances whose UID ends with .404; reports `here`,
    `elsewhere` (to peer_port, with reversed roles) or `never`."""
    def report_on(request):
        report = identifier(TransactionUID=request.TransactionUID)
        committed, failed = [], []
        for item in request.ReferencedSOPSequence:
            if item.ReferencedSOPInstanceUID.endswith(".404"):
                item.FailureReason = 0x0112
                failed.append(item)
            else:
                committed.append(item)
        if committed:
            report.ReferencedSOPSequence = committed
        if failed:
            report.FailedSOPSequence = failed
        return report, 2 if failed else 1

    def bring(report, event_type):
        ae = AE(ae_title="PYNETDICOM")
        ae.add_requested_context(COMMITMENT)
        association = ae.associate("127.0.0.1", int(peer_port), ae_title="PACS_TOOL",
                                   ext_neg=[build_role(COMMITMENT, scp_role=True)])
        association.send_n_event_report(report, event_type, COMMITMENT, COMMITMENT_INSTANCE)
        association.release()

    def on_action(event):
        report, event_type = report_on(event.action_information)
        if how == "here":
            # The response must leave first: the report follows when this handler has returned.
            def send():
                event.assoc.send_n_event_report(report, event_type, COMMITMENT, COMMITMENT_INSTANCE)
            threading.Timer(0.3, send).start()
        elif how == "elsewhere":
            threading.Timer(0.3, bring, (report, event_type)).start()
        return 0x0000, None

    own = AE(ae_title="PYNETDICOM")
    own.add_supported_context(COMMITMENT)
    own.start_server(("127.0.0.1", int(own_port)), block=True, evt_handlers=[(evt.EVT_N_ACTION, on_action)],
                     ssl_context=tls(ssl.PROTOCOL_TLS_SERVER))


def provide_archive(own_port, peer_port, folder, status):
    """A provider of storage and commitment until it is killed: keeps digests as `listen` does, answers instances
    whose UID ends with .404 with `status`, and commits to what it has, with reversed roles, to GATEWAY."""
    def on_store(event):
        instance = event.request.AffectedSOPInstanceUID
        if instance.endswith(".404"):
            return int(status, 16)
        with open(f"{folder}/{instance}", "a") as f:
            f.write(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest() + "\n")
        return 0

    def bring(request):
        report = identifier(TransactionUID=request.TransactionUID)
        committed, failed = [], []
        for item in request.ReferencedSOPSequence:
            if os.path.exists(f"{folder}/{item.ReferencedSOPInstanceUID}"):
                committed.append(item)
            else:
                item.FailureReason = 0x0112
                failed.append(item)
        if committed:
            report.ReferencedSOPSequence = committed
        if failed:
            report.FailedSOPSequence = failed
        ae = AE(ae_title="CENTRE")
        ae.add_requested_context(COMMITMENT)
        association = ae.associate("127.0.0.1", int(peer_port), ae_title="GATEWAY",
                                   ext_neg=[build_role(COMMITMENT, scp_role=True)])
        association.send_n_event_report(report, 2 if failed else 1, COMMITMENT, COMMITMENT_INSTANCE)
        association.release()

    def on_action(event):
        threading.Timer(0.3, bring, (event.action_information,)).start()
        return 0x0000, None

    own = AE(ae_title="CENTRE")
    own.add_supported_context(CT, [ExplicitVRLittleEndian])
    own.add_supported_context(COMMITMENT)
    handlers = [(evt.EVT_C_STORE, on_store), (evt.EVT_N_ACTION, on_action)]
    own.start_server(("127.0.0.1", int(own_port)), block=True, evt_handlers=handlers,
                     ssl_context=tls(ssl.PROTOCOL_TLS_SERVER))


def provide_retrieval(own_port, sink_port, *paths):
    """A provider of C-FIND, C-GET and C-MOVE of the study in these files until it is killed; all moves go to
    sink_port, over TLS where we speak it."""
    files = [dcmread(path) for path in paths]

    def on_find(event):
        study = identifier(QueryRetrieveLevel="STUDY")
        for element in event.identifier:
            if element.keyword != "QueryRetrieveLevel":
                study.add(files[0][element.tag])
        yield 0xFF00, study

    def on_get(event):
        yield len(files)
        for file in files:
            yield 0xFF00, file

    def on_move(event):
        context = tls(ssl.PROTOCOL_TLS_CLIENT)
        more = {"contexts": entity((CT, ExplicitVRLittleEndian)).requested_contexts}
        if context:
            more["tls_args"] = (context, "127.0.0.1")
        yield "127.0.0.1", int(sink_port), more
        yield from on_get(event)

    own = AE(ae_title="PYNETDICOM")
    for model in (FIND, GET, MOVE):
        own.add_supported_context(model)
    own.add_supported_context(CT, [ExplicitVRLittleEndian], scu_role=True, scp_role=True)
    own.start_server(("127.0.0.1", int(own_port)), block=True, ssl_context=tls(ssl.PROTOCOL_TLS_SERVER),
                     evt_handlers=[(evt.EVT_C_FIND, on_find), (evt.EVT_C_GET, on_get), (evt.EVT_C_MOVE, on_move)])


def provide_steps(own_port, folder):
    """A provider of performed procedure steps until it is killed; each is kept as JSON in `folder`, by its UID."""
    steps = {}

    def keep(uid):
        with open(f"{folder}/{uid}.json", "w") as f:
            f.write(steps[uid].to_json())

    def on_create(event):
        uid = event.request.AffectedSOPInstanceUID
        if uid in steps:
            return 0x0111, None
        steps[uid] = event.attribute_list
        keep(uid)
        return 0x0000, steps[uid]

    def on_set(event):
        uid = event.request.RequestedSOPInstanceUID
        if uid not in steps:
            return 0x0112, None
        if steps[uid].PerformedProcedureStepStatus != "IN PROGRESS":
            return 0x0110, None
        steps[uid].update(event.modification_list)
        keep(uid)
        return 0x0000, steps[uid]

    own = AE(ae_title="PYNETDICOM")
    own.add_supported_context(STEP)
    own.start_server(("127.0.0.1", int(own_port)), block=True, ssl_context=tls(ssl.PROTOCOL_TLS_SERVER),
                     evt_handlers=[(evt.EVT_N_CREATE, on_create), (evt.EVT_N_SET, on_set)])


def provide_availability(own_port, folder, *statuses):
    """A provider of Instance Availability Notification until it is killed; what it is told stands as JSON in
    `folder`, in order. It answers with `statuses`, in hexadecimal, and then with Success."""
    statuses, told = [int(status, 16) for status in statuses], []

    def on_create(event):
        notice = event.attribute_list
        instances = {}
        for series in notice.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                instances[item.ReferencedSOPInstanceUID] = [
                    item.InstanceAvailability, item.RetrieveAETitle, item.ReferencedSOPClassUID,
                    series.SeriesInstanceUID]
        steps = [[step.ReferencedSOPClassUID, step.ReferencedSOPInstanceUID, len(step.PerformedWorkitemCodeSequence)]
                 for step in notice.ReferencedPerformedProcedureStepSequence]
        told.append({"uid": event.request.AffectedSOPInstanceUID, "study": notice.StudyInstanceUID, "steps": steps,
                     "instances": instances, "attributes": sorted(element.keyword for element in notice)})
        path = f"{folder}/{len(told):04}"
        with open(f"{path}.part", "w") as f:
            json.dump(told[-1], f)
        os.rename(f"{path}.part", f"{path}.json")
        return statuses[len(told) - 1] if len(told) <= len(statuses) else 0x0000, None

    own = AE(ae_title="PYNETDICOM")
    own.add_supported_context(AVAILABILITY)
    own.start_server(("127.0.0.1", int(own_port)), block=True, ssl_context=tls(ssl.PROTOCOL_TLS_SERVER),
                     evt_handlers=[(evt.EVT_N_CREATE, on_create)])


def step_attributes(changes):
    """The attributes of a step that begins, with these changes by keyword; None takes one away."""
    scheduled = identifier(StudyInstanceUID="2.25.77", AccessionNumber="250060004329",
                           RequestedProcedureID="250060004329", ScheduledProcedureStepID="250060004329-01",
                           ReferencedStudySequence=[], ScheduledProtocolCodeSequence=[])
    begun = identifier(Modality="CT", PatientName="Жээнбеков^Үсөн", PatientID="P0000005724", PatientBirthDate="",
                       PatientSex="M", StudyID="", ReferencedPatientSequence=[], ProcedureCodeSequence=[],
                       PerformedStationAETitle="CT1", PerformedStationName="", PerformedLocation="",
                       PerformedProcedureStepStartDate="20261126", PerformedProcedureStepStartTime="090500",
                       PerformedProcedureStepEndDate="", PerformedProcedureStepEndTime="",
                       PerformedProcedureStepStatus="IN PROGRESS", PerformedProcedureStepID="1",
                       PerformedProtocolCodeSequence=[], PerformedSeriesSequence=[],
                       ScheduledStepAttributesSequence=[scheduled], SpecificCharacterSet="ISO_IR 192")
    return changed(begun, changes)


def changed(dataset, changes):
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        elif keyword == "scheduled":
            changed(dataset.ScheduledStepAttributesSequence[0], value)
        elif keyword == "series":
            images = [identifier(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=uid) for uid in value]
            dataset.PerformedSeriesSequence = [identifier(SeriesInstanceUID="2.25.78", ProtocolName="chest",
                                                          ReferencedImageSequence=images)]
        elif keyword == "reason":
            dataset.PerformedProcedureStepDiscontinuationReasonCodeSequence = [
                identifier(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning="why")]
        else:
            setattr(dataset, keyword, value)
    return dataset


def tell_steps(host, port, title, operations):
    """Tells of steps: `operations` is JSON, a list of ["create" or "set", UID, changes]; as the AE `title`."""
    ae = AE(ae_title=title)
    ae.add_requested_context(STEP)
    association = associate(ae, host, port)
    answers = []
    for what, uid, changes in json.loads(operations):
        if what == "create":
            status, _ = association.send_n_create(step_attributes(changes), STEP, uid)
        else:
            status, _ = association.send_n_set(changed(Dataset(), changes), STEP, uid)
        answers.append({"status": status.Status, "error_id": status.get("ErrorID"),
                        "comment": status.get("ErrorComment")})
    association.release()
    return {"answers": answers}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
