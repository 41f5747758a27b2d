"""Association peers on pynetdicom for the tests: `peers.py <what> <port>`. Prints what it saw."""

import sys

from pydicom.dataset import Dataset
from pynetdicom import AE, evt, build_role, debug_logger
from pynetdicom.pdu_primitives import (
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
    AsynchronousOperationsWindowNegotiation,
)
from pynetdicom.sop_class import (
    CTImageStorage,
    Verification,
    StudyRootQueryRetrieveInformationModelFind as Find,
    StudyRootQueryRetrieveInformationModelGet as Get,
)


def associate(ae, port, **more):
    association = ae.associate("127.0.0.1", port, ae_title="PACS", **more)
    if not association.is_established:
        print("rejected" if association.is_rejected else "not established")
        sys.exit(1)
    return association


def identity(port):
    """User identity with a positive response, and an asynchronous operations window."""
    user = UserIdentityNegotiation()
    user.user_identity_type = 2
    user.primary_field = b"user"
    user.secondary_field = b"secret"
    user.positive_response_requested = True
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 5
    window.maximum_number_operations_performed = 5
    relational = SOPClassExtendedNegotiation()
    relational.sop_class_uid = Find
    relational.service_class_application_information = b"\x01\x01\x01"
    ae = AE()
    ae.add_requested_context(Verification)
    ae.add_requested_context(Find)
    association = associate(ae, port, ext_neg=[user, window, relational])
    acceptor = association.acceptor
    # Nobody has verified it, so that there must be no response.
    print("identity", getattr(acceptor.user_identity, "server_response", None))
    print("window", acceptor.asynchronous_operations)
    print("relational", acceptor.sop_class_extended[Find])
    print("echo", hex(association.send_c_echo().Status))
    association.release()


def get(port):
    """C-GET with role selection."""
    seen = []

    def store(event):
        seen.append(len(event.request.DataSet.getvalue()))
        return 0x0000

    ae = AE()
    ae.add_requested_context(Get)
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    role = build_role(CTImageStorage, scp_role=True)
    association = associate(ae, port, ext_neg=[role], evt_handlers=[(evt.EVT_C_STORE, store)])
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = "1.2.3"
    last = None
    for status, identifier in association.send_c_get(query, Get):
        last = status
    print("status", hex(last.Status), "completed", last.NumberOfCompletedSuboperations)
    print("bytes", *seen)
    association.release()


def cancel(port):
    """C-CANCEL of C-FIND after three matches."""
    ae = AE()
    ae.add_requested_context(Find, "1.2.840.10008.1.2.1")
    association = associate(ae, port)
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.PatientID = ""
    count = 0
    for status, identifier in association.send_c_find(query, Find, msg_id=7):
        if status.Status == 0xFF00:
            count += 1
            if count == 3:
                association.send_c_cancel(7, query_model=Find)
    print("matches", count, "status", hex(status.Status))
    association.release()


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))
