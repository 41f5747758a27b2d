//! Every bound of the web services, in one place.

use pacs_image::RenderLimits;
use std::time::Duration;

/// Bytes of one line of the `Accept` header, or of the query parameter.
pub const ACCEPT_BYTES_MAX: usize = 8 << 10;

/// Media ranges of one request: browsers send about ten.
pub const ACCEPT_RANGES_MAX: usize = 100;

/// Parameters of a media type.
pub const MEDIA_PARAMETERS_MAX: usize = 16;

/// Bytes of a media type with its parameters.
pub const MEDIA_TYPE_BYTES_MAX: usize = 8 << 10;

/// Bounds of requests and of what is held to answer them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebLimits {
    /// Bytes a second in which the body of a request must arrive on the whole, once
    /// [`Self::arriving_grace`] has passed: who is slower holds a place and gives nothing (408).
    pub arriving_bytes_per_second_min: u64,
    /// How long a body may take whatever its length, and how long it may fall silent.
    pub arriving_grace: Duration,
    /// Searches for names that are alike, at once; each looks at much (503).
    pub alike_max: usize,
    /// Of these, searches of one client.
    pub alike_of_client_max: usize,
    /// Bytes of bulk data of one request that come beside metadata (413).
    pub bulk_bytes_max: u64,
    /// Bytes of a `Content-Location` that names bulk data.
    pub bulk_name_bytes_max: usize,
    /// Bytes of a request for storage commitment (413): 10,000 references fit.
    pub commitment_bytes_max: usize,
    /// References of one (413).
    pub commitment_references_max: usize,
    /// How long an answer waits for its outcome, before it is told to come again (202).
    pub commitment_wait_max: Duration,
    /// Bytes of a file that are held to read its File Meta Information (PS3.10 7.1).
    pub file_meta_bytes_max: usize,
    /// Bytes of a file that are waited for before it is looked at.
    pub file_start_bytes: usize,
    /// Bytes of a data set that are held to read its head; of a longer head the beginning has to
    /// say what the instance is.
    pub head_held_bytes_max: usize,
    /// Pieces that these bytes are in; more are put together.
    pub head_pieces_max: usize,
    /// Bytes of one part of metadata that clients send (413).
    pub metadata_bytes_max: usize,
    /// Memory that metadata takes which clients send, of all requests together, in whole MiB;
    /// without it a request is refused (503), or its instance.
    pub metadata_memory_bytes_max: u64,
    /// Of this, the memory that metadata of one client takes (a token, or an address without one).
    pub metadata_memory_of_client_bytes_max: u64,
    /// Attributes, items and values of one instance that comes as metadata (413).
    pub metadata_nodes_max: usize,
    /// Of `multipart/related`.
    pub multipart: MultipartLimits,
    /// Bytes of one request (413). Its instances have a bound of their own in the archive.
    pub request_bytes_max: u64,
    /// Bytes of the instances of one request that are made durable at once, and are in memory until
    /// they are; beyond them it is not read on. One instance may pass it.
    pub sealing_bytes_max: u64,
    /// The number of these instances, likewise.
    pub sealing_max: usize,
    /// Requests at once that store. Each holds up to [`Self::head_held_bytes_max`] and what a
    /// connection gives at once, beside what the archive counts (503).
    pub stores_max: usize,
    /// Of these, requests of one client (a token, or an address without one).
    pub stores_of_client_max: usize,
    /// Memory that all conversions to another transfer syntax take together, in whole MiB. Without
    /// it a conversion waits to begin, and one that needs more in the middle is cut.
    pub conversion_memory_bytes_max: u64,
    /// Of this, the memory that conversions for one client take.
    pub conversion_memory_of_client_bytes_max: u64,
    /// How long a conversion waits for memory to begin.
    pub conversion_queue_duration_max: Duration,
    /// Conversions to another transfer syntax that work at once; the others wait their turn.
    pub conversions_max: usize,
    /// Bytes that a deflated data set may become to be described or taken apart; it is held in
    /// memory then.
    pub inflated_bytes_max: u64,
    /// Memory that all of these take together (503).
    pub inflated_memory_bytes_max: usize,
    /// Bytes of the heads of a series, and of its compressed metadata, up to which that is made in
    /// memory and kept; what is longer is written piece by piece each time.
    pub document_bytes_max: u64,
    /// Memory that these documents take together while they are sent, in whole MiB. Without it they
    /// are written piece by piece.
    pub documents_memory_bytes_max: u64,
    /// Fragments of pixel data that are looked at one by one, where no table says where frames are.
    pub fragments_max: usize,
    /// Frames that a request names.
    pub frames_max: usize,
    /// Memory for where the frames of multi-frame objects are that were asked for lately.
    pub layouts_bytes_max: usize,
    /// Studies, and results in studies that are alike, that a search for names that are alike looks
    /// at for one page: one to two seconds. Beyond them the page ends, and the next one goes on.
    pub looked_at_max: usize,
    /// Bytes (OB, OW, UN and the like) that stand in metadata themselves.
    pub inline_bytes_max: u64,
    /// Bytes of a table of frame offsets.
    pub offset_table_bytes_max: u64,
    /// Parameters of a query.
    pub parameters_max: usize,
    /// Bytes of what is written before it is sent.
    pub piece_bytes: usize,
    /// How long a client may take nothing of its answer: after that it is cut, and what it would
    /// have got is let go.
    pub piece_wait_max: Duration,
    /// Bytes a second in which a client has to take an answer on the whole, beyond
    /// [`Self::piece_wait_max`]: who is slower holds memory and what is open, and is cut.
    pub leaving_bytes_per_second_min: u64,
    /// Pieces of an answer that wait for a slow client.
    pub pieces_waiting_max: usize,
    /// Bytes of the query of a URL.
    pub query_bytes_max: usize,
    /// Of rendered resources.
    pub rendering: RenderingLimits,
    /// Results of a search, whatever it wants.
    pub results_max: usize,
    /// Studies of a search that says nothing of how many it wants. Of series and instances it gets
    /// as many as there may be: half a study is of no use.
    pub studies_unasked_max: usize,
    /// Bytes of any value of an attribute that stand in metadata themselves.
    pub value_bytes_max: u64,
    /// Warnings of one answer.
    pub warnings_max: usize,
    /// Bytes of what a client sends to a workitem (413).
    pub workitem_bytes_max: usize,
    /// Instances that a workitem names to be read.
    pub workitem_instances_max: usize,
    /// Attributes, items and values of what a client sends to a workitem (413).
    pub workitem_nodes_max: usize,
    /// Searches for workitems, at once (503).
    pub workitem_searches_max: usize,
    /// Of these, searches of one client.
    pub workitem_searches_of_client_max: usize,
    /// Workitems of a search that says nothing of how many it wants.
    pub workitems_unasked_max: usize,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self {
            arriving_bytes_per_second_min: 1 << 10,
            arriving_grace: Duration::from_secs(30),
            alike_max: 16,
            alike_of_client_max: 4,
            bulk_bytes_max: 16 << 30,
            bulk_name_bytes_max: 2 << 10,
            commitment_bytes_max: 8 << 20,
            commitment_references_max: 10_000,
            commitment_wait_max: Duration::from_secs(5),
            file_meta_bytes_max: 1 << 20,
            file_start_bytes: 4 << 10,
            head_held_bytes_max: 256 << 10,
            head_pieces_max: 64,
            metadata_bytes_max: 64 << 20,
            metadata_memory_bytes_max: 512 << 20,
            metadata_memory_of_client_bytes_max: 384 << 20,
            metadata_nodes_max: 2_000_000,
            multipart: MultipartLimits::default(),
            request_bytes_max: 64 << 30,
            sealing_bytes_max: 4 << 20,
            sealing_max: 64,
            stores_max: 64,
            stores_of_client_max: 32,
            conversion_memory_bytes_max: 256 << 20,
            conversion_memory_of_client_bytes_max: 128 << 20,
            conversion_queue_duration_max: Duration::from_secs(30),
            conversions_max: 4,
            inflated_bytes_max: 256 << 20,
            inflated_memory_bytes_max: 512 << 20,
            document_bytes_max: 32 << 20,
            documents_memory_bytes_max: 256 << 20,
            fragments_max: 1_000_000,
            frames_max: 1_000,
            layouts_bytes_max: 8 << 20,
            looked_at_max: 200_000,
            inline_bytes_max: 4 << 10,
            offset_table_bytes_max: 16 << 20,
            parameters_max: 256,
            piece_bytes: 64 << 10,
            piece_wait_max: Duration::from_secs(60),
            leaving_bytes_per_second_min: 1 << 10,
            pieces_waiting_max: 2,
            query_bytes_max: 64 << 10,
            rendering: RenderingLimits::default(),
            results_max: 10_000,
            studies_unasked_max: 200,
            value_bytes_max: 64 << 10,
            warnings_max: 16,
            workitem_bytes_max: 256 << 10,
            workitem_instances_max: 10_000,
            workitem_nodes_max: 4_096,
            workitem_searches_max: 32,
            workitem_searches_of_client_max: 8,
            workitems_unasked_max: 200,
        }
    }
}

/// Bounds of reading a data set that a client describes in XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelLimits {
    /// Bytes of the text. What is read of it takes a few times as much memory.
    pub bytes_max: usize,
    /// Items within items.
    pub depth_max: usize,
    /// Elements.
    pub elements_max: usize,
}

impl Default for ModelLimits {
    fn default() -> Self {
        Self {
            bytes_max: 16 << 20,
            depth_max: pacs_core::limits::ITEM_DEPTH_MAX,
            elements_max: 1_000_000,
        }
    }
}

/// Bounds of reading `multipart/related`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultipartLimits {
    /// Bytes of the head of a part, with the empty line behind it.
    pub head_bytes_max: usize,
    /// Fields of the head of a part.
    pub head_fields_max: usize,
    /// Parts of one body.
    pub parts_max: usize,
    /// Bytes before the first boundary, which nobody needs.
    pub preamble_bytes_max: u64,
}

impl Default for MultipartLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 << 10,
            head_fields_max: 32,
            parts_max: 10_000,
            preamble_bytes_max: 64 << 10,
        }
    }
}

/// Bounds of making pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderingLimits {
    /// Pictures that are made at once; the others wait their turn.
    pub pictures_max: usize,
    /// Animations that are made at once, beside them.
    pub animations_max: usize,
    /// Animations that are made or waited for (503).
    pub animations_wanted_max: usize,
    /// Of these, those of one client.
    pub animations_of_client_max: usize,
    /// Memory that they take together, in whole MiB.
    pub memory_bytes_max: u64,
    /// How long a picture waits for its turn and for memory (503).
    pub queue_duration_max: Duration,
    /// How long an animation may take to be made (413).
    pub animation_duration_max: Duration,
    /// Bytes of a structured report that is shown as text.
    pub report_source_bytes_max: u64,
    /// Bytes of that text.
    pub report_bytes_max: usize,
    /// Of one picture.
    pub render: RenderLimits,
}

impl Default for RenderingLimits {
    fn default() -> Self {
        Self {
            pictures_max: std::thread::available_parallelism().map_or(2, |n| n.get().min(16)),
            animations_max: 1,
            animations_wanted_max: 16,
            animations_of_client_max: 4,
            memory_bytes_max: 512 << 20,
            queue_duration_max: Duration::from_secs(30),
            animation_duration_max: Duration::from_secs(120),
            report_source_bytes_max: 8 << 20,
            report_bytes_max: 32 << 20,
            render: RenderLimits::default(),
        }
    }
}
