"""pynetdicom as a peer of the server under test; the tests in interop_pynetdicom.rs run it.

  peer.py COMMAND HOST PORT [ARGUMENTS]

Every command ends with exit status 0 and a last line of JSON, or with a traceback.

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
    ae = AE(ae_title="PYNETDICOM")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    for context in contexts:
        ae.add_requested_context(*context)
    return ae


def associate(ae, host, port, **more):
    context = tls(ssl.PROTOCOL_TLS_CLIENT)
    if context:
        more["tls_args"] = (context, host)
    association = ae.associate(host, int(port), ae_title="PACS", **more)
    assert association.is_established, "not established"
    return association


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


def identity(host, port, kind="2"):
    """User identity with a positive response asked for, and an asynchronous operations window."""
    user = UserIdentityNegotiation()
    user.user_identity_type = int(kind)
    user.primary_field = b"somebody" if kind == "2" else b"secret.of.token"
    if kind == "2":
        user.secondary_field = b"secret"
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


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
