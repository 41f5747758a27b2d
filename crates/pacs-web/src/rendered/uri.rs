//! WADO-URI (PS3.18 9): one instance, named by the parameters of a query.

use super::frames::Kind;
use super::parameters::{numbers, quality, window_of};
use super::{Request, Wanted};
use crate::accept::Accept;
use crate::access::Allowed;
use crate::error::Failure;
use crate::query_string;
use crate::resource::Resource;
use crate::retrieve;
use crate::service::Web;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_image::render::{Region, Viewport, WindowFunction};

/// What is given where the client names no transfer syntax (9.1.2.2.7): that one, or else the
/// stored one.
const DICOM_DEFAULT: &str = "application/dicom;transfer-syntax=1.2.840.10008.1.2.1, \
                             application/dicom;transfer-syntax=*;q=0.5";

/// An edge of a picture of which only the other one is told.
const EDGE_MAX: u32 = 65_535;

/// `GET /wado`
pub(crate) async fn wado(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let parameters = query_string::parameters(query.as_deref(), web.limits())?;
    let query = Parameters(&parameters);
    if query.get("requestType") != Some("WADO") {
        return Err(Failure::bad_request("requestType is WADO"));
    }
    let (study, series) = (query.needed("studyUID")?, query.needed("seriesUID")?);
    let resource = Resource::new(study, Some(series), Some(query.needed("objectUID")?))?;
    if query.get("anonymize") == Some("yes") {
        return Err(Failure::NotAcceptable {
            available: "instances that are not anonymized".to_owned(),
        });
    }
    let frame = query.get("frameNumber");
    if frame.is_some_and(|frame| frame.contains(',')) {
        return Err(Failure::bad_request("frameNumber is one number"));
    }
    let kinds = query.get("contentType").unwrap_or_default();
    let accept = Accept::parse([kinds], []);
    let accept = accept.map_err(|error| Failure::bad_request(error.to_string()))?;
    let (_, found) = resource.instances(&web, &permit).await?;
    let shown = found
        .first()
        .ok_or(Failure::NotFound { what: "instance" })?;
    let is_several = super::frames::all(shown).nth(1).is_some() && frame.is_none();
    let is_dicom = if kinds.is_empty() {
        // The defaults of 9.1.2.2.5: pictures of single frames, reports as HTML, or else all.
        let kind = Kind::of(shown);
        is_several || matches!(kind, Kind::Other | Kind::Pdf | Kind::Video)
    } else {
        wants_dicom(kinds)
    };
    if is_dicom {
        return dicom(&web, permit, &resource, &headers, &query).await;
    }
    let request = Request {
        web: &web,
        permit: &permit,
        headers: &headers,
        accept,
        wanted: query.wanted()?,
        is_thumbnail: false,
        is_head: method == Method::HEAD,
    };
    match request.answer(&resource, frame).await {
        // What comes later in the list is taken where nothing before it can be had.
        Err(Failure::NotAcceptable { .. }) if accepts_dicom(kinds) => {
            dicom(&web, permit, &resource, &headers, &query).await
        }
        answer => answer,
    }
}

/// Whether that of DICOM files is among the media types.
fn accepts_dicom(kinds: &str) -> bool {
    kinds.split(',').any(wants_dicom)
}

/// Whether the first of the media types is that of DICOM files.
fn wants_dicom(kinds: &str) -> bool {
    let first = kinds.split([',', ';']).next().unwrap_or_default();
    first.trim().eq_ignore_ascii_case("application/dicom")
}

/// The instance as a file.
async fn dicom(
    web: &Web,
    permit: Permit<Get>,
    resource: &Resource,
    headers: &HeaderMap,
    query: &Parameters<'_>,
) -> Result<Response, Failure> {
    let text = match query.get("transferSyntax") {
        None => DICOM_DEFAULT.to_owned(),
        Some(syntax) => {
            let is_uid = |b: u8| b.is_ascii_digit() || b == b'.';
            if syntax.is_empty() || !syntax.bytes().all(is_uid) {
                return Err(Failure::bad_request("transferSyntax is a UID"));
            }
            format!("application/dicom;transfer-syntax={syntax}")
        }
    };
    let accept = Accept::parse([text.as_str()], []).map_err(|_| Failure::Internal)?;
    retrieve::retrieve(web.clone(), permit, resource, headers, &accept).await
}

/// The parameters of a request.
struct Parameters<'p>(&'p [(String, String)]);

impl<'p> Parameters<'p> {
    fn get(&self, name: &str) -> Option<&'p str> {
        let mut known = self.0.iter();
        known
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn needed(&self, name: &'static str) -> Result<&'p str, Failure> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Failure::bad_request(format!("{name} is missing")))
    }

    fn edge(&self, name: &'static str) -> Result<Option<u32>, Failure> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let edge = text
            .parse()
            .ok()
            .filter(|edge| (1..=EDGE_MAX).contains(edge));
        let wrong = || Failure::bad_request(format!("{name} is a number of pixels"));
        edge.ok_or_else(wrong).map(Some)
    }

    /// What is wanted of the picture (9.1.2).
    fn wanted(&self) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::read(&self.shared())?;
        if let Some(text) = self.get("imageQuality") {
            wanted.quality = quality(text)?;
        }
        let window = (self.get("windowCenter"), self.get("windowWidth"));
        wanted.render.window = match window {
            (None, None) => None,
            (Some(center), Some(width)) => {
                let window = window_of(center, width, WindowFunction::Linear);
                let wrong = "windowCenter and windowWidth are numbers, the width 1 or more";
                Some(window.ok_or_else(|| Failure::bad_request(wrong))?)
            }
            _ => return Err(Failure::bad_request("a window is center and width")),
        };
        let (rows, columns) = (self.edge("rows")?, self.edge("columns")?);
        let part = self.get("region").map(part).transpose()?;
        if rows.is_some() || columns.is_some() {
            wanted.render.viewport = Some(Viewport {
                width: columns.unwrap_or(EDGE_MAX),
                height: rows.unwrap_or(EDGE_MAX),
                region: Region::default(),
            });
        }
        wanted.render.part = part;
        Ok(wanted)
    }

    /// Parameters that are the same as those of rendered resources.
    fn shared(&self) -> Vec<(String, String)> {
        let is_shared =
            |name: &str| ["annotation", "presentationUID", "presentationSeriesUID"].contains(&name);
        let shared = self.0.iter().filter(|(name, _)| is_shared(name));
        shared.cloned().collect()
    }
}

/// `xmin,ymin,xmax,ymax` in parts of the image, from 0 to 1 (9.1.2.2.4.2.3).
fn part(text: &str) -> Result<[f64; 4], Failure> {
    let wrong =
        || Failure::bad_request("region is xmin,ymin,xmax,ymax in parts of the image, from 0 to 1");
    let values = numbers(text).ok_or_else(wrong)?;
    let [Some(left), Some(top), Some(right), Some(bottom)] = *values.as_slice() else {
        return Err(wrong());
    };
    let is_part = |value: f64| (0.0..=1.0).contains(&value);
    if ![left, top, right, bottom].into_iter().all(is_part) || left >= right || top >= bottom {
        return Err(wrong());
    }
    Ok([left, top, right, bottom])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &[(&str, &str)]) -> Result<Wanted, Failure> {
        let owned = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Parameters(&owned.collect::<Vec<_>>()).wanted()
    }

    #[test]
    fn sizes_windows_and_regions_are_read() {
        let query = [
            ("rows", "100"),
            ("windowCenter", "40"),
            ("windowWidth", "400"),
            ("imageQuality", "50"),
            ("region", "0.25,0,0.75,1"),
        ];
        let wanted = wanted(&query).unwrap();
        assert_eq!(wanted.quality, 50);
        assert_eq!(wanted.render.part, Some([0.25, 0.0, 0.75, 1.0]));
        assert_eq!(wanted.render.viewport.unwrap().height, 100);
        assert_eq!(wanted.render.window.unwrap().center, 40.0);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for query in [
            [("rows", "0")],
            [("columns", "70000")],
            [("windowCenter", "40")],
            [("imageQuality", "101")],
            [("region", "0,0,1")],
            [("region", "0.5,0,0.5,1")],
            [("region", "0,0,2,1")],
        ] {
            assert!(
                matches!(wanted(&query), Err(Failure::BadRequest { .. })),
                "{query:?}"
            );
        }
        for kinds in ["application/dicom", "Application/DICOM; x=y, image/jpeg"] {
            assert!(wants_dicom(kinds));
        }
        assert!(!wants_dicom("image/jpeg,application/dicom"));
    }
}
