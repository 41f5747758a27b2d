//! Every bound on what a peer can make us hold, read or wait for, in one place.

use std::time::Duration;

/// Bounds of an acceptor or requestor. [`NetLimits::default`] suits a hospital's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetLimits {
    /// Bytes of an A-ASSOCIATE-RQ or -AC PDU: 128 contexts with 20 transfer syntaxes fit. Over it:
    /// A-ABORT.
    pub association_request_bytes_max: u32,
    /// Bytes of a P-DATA-TF PDU, which we announce as Maximum Length (PS3.8 D.1). Over it: A-ABORT.
    pub pdu_bytes_max: u32,
    /// Bytes of a P-DATA-TF PDU that we send to a peer which names no maximum, or a larger one.
    pub sent_pdu_bytes_max: u32,
    /// Least Maximum Length of a peer; below it no useful fragment fits. Under it: A-ASSOCIATE-RJ.
    pub peer_pdu_bytes_min: u32,
    /// Bytes of a command set; real ones have some hundred. Over it: A-ABORT.
    pub command_set_bytes_max: usize,
    /// Bytes of an identifier that a peer sends. Over it: the status that the service has for it.
    pub identifier_bytes_max: usize,
    /// Bytes of the data set of a storage commitment request or report. Over it: 0213H.
    pub commitment_bytes_max: usize,
    /// Bytes of the attributes of N-CREATE and N-SET. More is read and refused (0213H).
    pub procedure_step_bytes_max: usize,
    /// Presentation contexts of an association: as many as there are odd numbers (PS3.8 9.3.2.2).
    pub presentation_contexts_max: usize,
    /// UIDs in a Failed SOP Instance UID List; the count of failures stays right beyond it.
    pub failed_uids_max: usize,
    /// Wait for the end of the TLS hand-shake, from the first moment of a connection. After it:
    /// closed.
    pub handshake_duration_max: Duration,
    /// Wait for the first PDU, and for the peer to close after the last one (PS3.8 9.1.5).
    pub artim: Duration,
    /// Time in which a PDU that has begun must be complete. After it: A-ABORT.
    pub pdu_duration_max: Duration,
    /// Silence of a peer whose turn it is. After it: A-ABORT.
    pub idle_duration_max: Duration,
    /// Time for which a peer may take nothing of what we send. After it: A-ABORT.
    pub write_duration_max: Duration,
    /// Least rate of a peer that sends a data set, or takes what we send: it may fall behind by
    /// `idle_duration_max` or `write_duration_max`. After it: A-ABORT.
    pub bytes_per_second_min: u32,
    /// Wait for a response to our request: storing may take a peer long. After it: A-ABORT.
    pub response_duration_max: Duration,
    /// Wait for a transport connection that we open.
    pub connect_duration_max: Duration,
    /// Wait for A-ASSOCIATE-AC or -RJ, and for A-RELEASE-RP, when we asked.
    pub association_duration_max: Duration,
    /// Transport connections, with those that have not asked for an association yet. Over it:
    /// closed.
    pub connections_max: usize,
    /// Transport connections from one address that have not asked for an association yet. Over it:
    /// the oldest are closed, once they have had a second.
    pub strangers_per_address_max: usize,
    /// Bytes of the A-ASSOCIATE-RQ PDUs over 4 KiB that are being received, of all connections.
    /// Over it: the oldest of these connections are closed.
    pub association_requests_bytes_max: usize,
    /// Bytes of read buffers and identifiers of all associations. Near it associations read in
    /// smaller steps, and newcomers are rejected: transient, local limit exceeded.
    pub buffered_bytes_max: usize,
    /// Associations in all. Over it: A-ASSOCIATE-RJ, transient, local limit exceeded.
    pub associations_max: usize,
    /// Associations with one calling AE title. Over it: as above.
    pub associations_per_ae_max: usize,
    /// Associations from one address. Over it: as above.
    pub associations_per_address_max: usize,
    /// Quiet after our last response before we ask something of our own on the association of a
    /// peer (N-EVENT-REPORT): it may be about to ask on, and few expect a request just then.
    pub event_quiet: Duration,
    /// Time for running operations to end when the acceptor stops. After it: A-ABORT.
    pub drain_duration_max: Duration,
    /// Bytes that are read from a transport at once, once an association stands: so many that a CT
    /// slice of 512 x 512 fits with its header.
    pub read_bytes: usize,
    /// Bytes of responses gathered into one write while their source is ready.
    pub batch_bytes: usize,
    /// Least time between two pending responses of C-GET or C-MOVE; the first goes out at once.
    pub pending_interval: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            association_request_bytes_max: 128 << 10,
            pdu_bytes_max: 256 << 10,
            sent_pdu_bytes_max: 1 << 20,
            peer_pdu_bytes_min: 64,
            command_set_bytes_max: 64 << 10,
            identifier_bytes_max: 1 << 20,
            commitment_bytes_max: 2 << 20,
            procedure_step_bytes_max: 2 << 20,
            presentation_contexts_max: 128,
            failed_uids_max: 10_000,
            handshake_duration_max: Duration::from_secs(10),
            artim: Duration::from_secs(10),
            pdu_duration_max: Duration::from_secs(30),
            idle_duration_max: Duration::from_secs(60),
            write_duration_max: Duration::from_secs(60),
            bytes_per_second_min: 1 << 10,
            response_duration_max: Duration::from_secs(300),
            connect_duration_max: Duration::from_secs(10),
            association_duration_max: Duration::from_secs(30),
            connections_max: 16_384,
            strangers_per_address_max: 64,
            association_requests_bytes_max: 32 << 20,
            buffered_bytes_max: 128 << 20,
            associations_max: 500,
            associations_per_ae_max: 20,
            associations_per_address_max: 50,
            event_quiet: Duration::from_millis(250),
            drain_duration_max: Duration::from_secs(20),
            read_bytes: 576 << 10,
            batch_bytes: 64 << 10,
            pending_interval: Duration::from_millis(50),
        }
    }
}
