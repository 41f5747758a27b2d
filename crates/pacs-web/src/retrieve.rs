//! WADO-RS (PS3.18 10.4.1.1.1): stored instances, with the bytes they came with.

use crate::access::Allowed;
use crate::error::Failure;
use crate::service::Web;
use crate::stream;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pacs_core::access::Get;
use pacs_core::scan::file::file_meta;
use pacs_core::tag::tags;
use pacs_core::{Key, Level, Matching, Permit, Query, Uid, Vr};
use pacs_store::index::StoredInstance;

/// `GET /studies/{study}/series/{series}/instances/{instance}`
pub(crate) async fn instance(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    let named = [
        (tags::STUDY_INSTANCE_UID, study),
        (tags::SERIES_INSTANCE_UID, series),
        (tags::SOP_INSTANCE_UID, instance),
    ];
    let mut query = Query::new(Level::Instance);
    for (tag, uid) in named {
        let uid = Uid::parse_legacy(&uid).map_err(|_| Failure::NotFound { what: "resource" })?;
        let matching = Matching::SingleValue(uid.as_str().to_owned());
        let vr = Vr::UI;
        query = query.with(Key { tag, vr, matching });
    }
    let mut found = web.archive().select(&permit, &query).await?;
    let Some(stored) = found.pop() else {
        return Err(Failure::NotFound { what: "instance" });
    };
    Ok(part10(&web, &permit, &stored))
}

/// One instance as a DICOM file (PS3.10), streamed.
fn part10(web: &Web, permit: &Permit<Get>, stored: &StoredInstance) -> Response {
    let head = &stored.instance;
    let meta = file_meta(&head.sop_class, &head.instance, &head.transfer_syntax);
    let length = stored
        .location
        .length_bytes
        .saturating_add(u64::try_from(meta.len()).unwrap_or(u64::MAX));
    let (pieces, body) = stream::body(web.limits().pieces_waiting_max, Some(length));
    let mut reader = web.archive().read(permit, stored);
    tokio::spawn(async move {
        if pieces.put(Bytes::from(meta)).await.is_err() {
            return;
        }
        loop {
            match reader.next().await {
                Ok(Some(piece)) => {
                    if pieces.put(piece).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "a stored instance cannot be given back");
                    pieces.cut().await;
                    return;
                }
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/dicom"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}
