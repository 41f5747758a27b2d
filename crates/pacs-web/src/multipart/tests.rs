//! Bodies that are whole, cut, odd and hostile, in every chunking.

use super::*;
use proptest::prelude::*;

/// What a body holds: the fields and bytes of its whole parts, and how it ended.
type Read = (Vec<(PartHead, Vec<u8>)>, Result<(), MultipartError>);

fn media_type(boundary: &str) -> MediaType {
    MediaType::parse(&format!("multipart/related; boundary=\"{boundary}\"")).unwrap()
}

fn small() -> MultipartLimits {
    MultipartLimits {
        head_bytes_max: 200,
        head_fields_max: 3,
        parts_max: 4,
        preamble_bytes_max: 30,
    }
}

/// Reads chunks that end where `cuts` says.
fn read_cut(boundary: &str, body: &[u8], cuts: &[usize]) -> Read {
    let mut reader = PartReader::new(&media_type(boundary), small()).unwrap();
    let mut ends: Vec<usize> = cuts
        .iter()
        .map(|cut| cut.checked_rem(body.len().saturating_add(1)).unwrap_or(0))
        .collect();
    ends.push(body.len());
    ends.sort_unstable();
    let mut chunks = ends.iter().scan(0, |begin, end| {
        let chunk = Bytes::copy_from_slice(&body[*begin..*end]);
        *begin = *end;
        Some(chunk)
    });
    let mut parts = Vec::new();
    let mut open: Option<(PartHead, Vec<u8>)> = None;
    loop {
        match reader.advance() {
            Ok(Next::Data(bytes)) => open.as_mut().unwrap().1.extend_from_slice(&bytes),
            Ok(Next::End) => return (parts, reader.finish()),
            Ok(Next::Part(head)) => assert!(open.replace((head, Vec::new())).is_none()),
            Ok(Next::PartEnd) => parts.push(open.take().unwrap()),
            Ok(Next::NeedsChunk) => match chunks.next() {
                Some(chunk) => reader.push(chunk),
                None => return (parts, reader.finish()),
            },
            Err(error) => {
                assert_eq!(reader.advance(), Err(error), "it stays so");
                return (parts, Err(error));
            }
        }
    }
}

/// Reads `body` whole and byte by byte, which must be the same.
fn read(body: &[u8]) -> Read {
    let whole = read_cut("b", body, &[]);
    let every: Vec<usize> = (0..body.len()).collect();
    assert_eq!(read_cut("b", body, &every), whole);
    whole
}

fn bytes_of(read: &Read) -> Vec<&[u8]> {
    read.0.iter().map(|(_, bytes)| bytes.as_slice()).collect()
}

#[test]
fn parts_come_with_their_fields_and_bytes() {
    let body = b"before\r\n--b \t\r\nContent-Type: text/plain;\r\n  charset=utf-8\r\nX:1\r\n\r\n\
                 one\r\ntwo\r\n--b\r\n\r\nthree\r\n--b--\r\nbehind --b";

    let read = read(body);

    assert_eq!(read.1, Ok(()));
    assert_eq!(bytes_of(&read), [b"one\r\ntwo".as_slice(), b"three"]);
    let head = &read.0[0].0;
    let kind = head.content_type().unwrap().unwrap();
    assert!(kind.is("text/plain"));
    assert_eq!(kind.parameter("charset"), Some("utf-8"));
    assert_eq!(head.field("x"), Some("1"));
    assert_eq!(read.0[1].0.content_type(), Ok(None));
}

#[test]
fn empty_parts_and_bytes_that_nearly_are_boundaries_are_kept() {
    for (body, bytes) in [
        (b"--b\r\n\r\n\r\n--b--".as_slice(), b"".as_slice()),
        (b"--b\r\n\r\n--b--", b""),
        (b"--b\r\nX: y\r\n\r\n--b--", b""),
        (b"--b\r\n\r\n\r\n\r\n--b--", b"\r\n"),
        (
            b"--b\r\n\r\n\r\n-\r\n--\r\n\r\r\n--b--",
            b"\r\n-\r\n--\r\n\r",
        ),
        (b"--b\r\n\r\n--c\r\n--b--", b"--c"),
        (b"--b\r\n\r\nx--b\n--b\r\n--b--", b"x--b\n--b"),
        (b"--b\r\n\r\n-\r\n--b--", b"-"),
    ] {
        let read = read(body);

        assert_eq!(read.1, Ok(()), "{body:?}");
        assert_eq!(bytes_of(&read), [bytes], "{body:?}");
    }
}

#[test]
fn a_cut_body_gives_what_was_whole_and_says_that_it_was_cut() {
    let body = b"--b\r\nX: y\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--";
    for end in 0..body.len() {
        let read = read(&body[..end]);

        assert_eq!(read.1, Err(MultipartError::Cut), "at {end}");
        let whole = usize::from(end >= 23);
        assert_eq!(read.0.len(), whole, "at {end}: {:?}", bytes_of(&read));
    }
    assert_eq!(read(body).1, Ok(()));
}

#[test]
fn what_passes_a_limit_or_is_odd_is_refused() {
    use MultipartError as E;
    let long_preamble = [b"x".repeat(31).as_slice(), b"\r\n--b\r\n\r\n\r\n--b--"].concat();
    let long_head = [b"--b\r\nX: ".as_slice(), &b"y".repeat(200), b"\r\n\r\n"].concat();
    let endless_head = [b"--b\r\nX: ".as_slice(), &b"y".repeat(2000)].concat();
    let many = b"--b\r\n\r\n\r\n".repeat(5);
    for (body, error) in [
        (long_preamble.as_slice(), E::Preamble),
        (&long_head, E::HeadTooLong),
        (&endless_head, E::HeadTooLong),
        (b"--b\r\na:b\r\na:b\r\na:b\r\na:b\r\n\r\n", E::HeadTooLong),
        (&many, E::TooManyParts),
        (b"--bc\r\n\r\n", E::Padding),
        (b"--b\n\n", E::Padding),
        (b"--b-\r\n\r\n", E::Padding),
        (b"--b\r\r\n\r\n", E::Padding),
        (b"--b\r\nno field\r\n\r\n", E::Head),
        (b"--b\r\n: x\r\n\r\n", E::Head),
        (b"--b\r\n x: y\r\n\r\n", E::Head),
        (b"--b\r\nx: \0\r\n\r\n", E::Head),
        (b"--b\r\nx: \xff\r\n\r\n", E::Head),
        (b"--b\r\nx: a\nb\r\n\r\n", E::Head),
    ] {
        assert_eq!(
            read(body).1,
            Err(error),
            "{:?}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn a_part_is_not_whole_before_its_boundary_is_seen_to_be_one() {
    let read = read(b"--b\r\n\r\none\r\n--bc\r\n--b--");

    assert_eq!(read, (Vec::new(), Err(MultipartError::Padding)));
}

#[test]
fn blanks_behind_a_boundary_are_bounded() {
    let body = [b"--b".as_slice(), &b" ".repeat(1000), b"\r\n\r\n"].concat();

    assert_eq!(read(&body).1, Err(MultipartError::Padding));
}

#[test]
fn a_boundary_that_rfc_2046_does_not_allow_is_none() {
    let limits = MultipartLimits::default();
    let long = "x".repeat(71);
    for boundary in ["", "x ", "a\tb", "a;b", "a<b", "\u{e4}", &long] {
        let kind = media_type(boundary);
        let refused = PartReader::new(&kind, limits).map(|_| ());
        assert_eq!(refused, Err(MultipartError::Boundary), "{boundary}");
    }
    let none = MediaType::parse("multipart/related").unwrap();
    assert_eq!(boundary_of(&none), Err(MultipartError::Boundary));
    let longest = "a'()+_,-./:=? z".repeat(4);
    assert_eq!(boundary_of(&media_type(&longest)), Ok(longest.as_str()));
}

#[test]
fn bytes_of_parts_are_not_copied() {
    let body = Bytes::from(b"--b\r\n\r\n0123456789\r\n--b--".to_vec());
    let mut reader = PartReader::new(&media_type("b"), small()).unwrap();
    reader.push(body.clone());
    assert!(matches!(reader.advance(), Ok(Next::Part(_))));

    let Ok(Next::Data(bytes)) = reader.advance() else {
        panic!("there are bytes");
    };

    assert_eq!(bytes.as_ptr(), body[7..].as_ptr());
}

#[test]
fn what_is_written_is_read() {
    let mut writer = PartWriter::new([7; 16]);
    let kind = writer.content_type("application/dicom");
    let mut body = Vec::new();
    for (content, location) in [("one", "/a\r\nX-Bad: 1"), ("", "/b")] {
        let fields = [
            ("Content-Type", "application/dicom"),
            ("Content-Location", location),
        ];
        body.extend_from_slice(&writer.part(&fields));
        body.extend_from_slice(content.as_bytes());
    }
    body.extend_from_slice(&writer.end());

    let kind = MediaType::parse(&kind).unwrap();
    let read = read_cut(boundary_of(&kind).unwrap(), &body, &[]);

    assert_eq!(kind.parameter("type"), Some("application/dicom"));
    assert_eq!(read.1, Ok(()));
    assert_eq!(bytes_of(&read), [b"one".as_slice(), b""]);
    assert_eq!(read.0[0].0.field("content-location"), Some("/aX-Bad: 1"));
}

#[test]
fn a_body_without_parts_is_whole() {
    let writer = PartWriter::new([0; 16]);
    let kind = MediaType::parse(&writer.content_type("a/b")).unwrap();
    let boundary = boundary_of(&kind).unwrap().to_owned();

    let read = read_cut(&boundary, &writer.end(), &[3]);

    assert_eq!(read, (Vec::new(), Ok(())));
}

/// Bytes of which many look like boundaries.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"-".to_vec()),
        Just(b"--b".to_vec()),
        Just(b"\r\n--b\r\n".to_vec()),
        Just(b"\r\n--b--".to_vec()),
        Just(b"X: y\r\n\r\n".to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_however_they_are_cut(
        body in odd_bytes(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let body = [b"--b\r\n\r\n".as_slice(), &body].concat();
        prop_assert_eq!(read_cut("b", &body, &cuts), read_cut("b", &body, &[]));
    }

    #[test]
    fn parts_that_are_written_come_back(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..4),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut writer = PartWriter::new([9; 16]);
        let kind = MediaType::parse(&writer.content_type("a/b")).unwrap();
        let mut body = Vec::new();
        for part in &parts {
            body.extend_from_slice(&writer.part(&[("Content-Type", "a/b")]));
            body.extend_from_slice(part);
        }
        body.extend_from_slice(&writer.end());

        let read = read_cut(boundary_of(&kind).unwrap(), &body, &cuts);

        prop_assert_eq!(read.1, Ok(()));
        let came: Vec<&Vec<u8>> = read.0.iter().map(|(_, bytes)| bytes).collect();
        prop_assert_eq!(came, parts.iter().collect::<Vec<_>>());
    }
}
