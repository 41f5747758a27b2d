//! Many who ask for everything at once and take nothing of the answers (T8): what a search found
//! waits in memory until it is sent.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::crowd::source;
use super::{storing, until};
use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::wire::command::{element, field};
use crate::wire::identifier::tag;
use crate::wire::{Association, Command, Context, Keys, Proposal, WireError, uid};

/// How many ask, and how much there is.
#[derive(Clone, Copy, Debug)]
pub struct Askers {
    /// Associations that ask for every instance.
    pub count: usize,
    /// Instances in the archive.
    pub instances: u32,
    /// Characters of the comments of each, which are asked for, too. All answers to one asker
    /// together have to be more than the kernel keeps of a connection, some 4 MiB.
    pub comments_chars: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Associations that got every instance, once they took it.
    pub whole: usize,
    /// Those that were told that there is no memory now (A700H).
    pub refused: usize,
    /// Growth of the highest resident memory.
    pub grown_bytes: u64,
}

/// Instances of one study.
const PER_STUDY: u32 = 50;

/// Bytes that an asker's side of the connection holds, at most.
const RECEIVED_BYTES_MAX: usize = 4 << 10;

/// Stores the instances over eight associations.
fn fill(server: &Server, askers: Askers) {
    let count = askers.instances;
    let studies = count.div_ceil(PER_STUDY);
    std::thread::scope(|scope| {
        for first in 0..8 {
            scope.spawn(move || {
                let association = Association::connect(server.dicom(), &storing());
                let mut association = association.expect("an association");
                for study in (first..studies).step_by(8) {
                    for number in 1..=PER_STUDY.min(count - study * PER_STUDY) {
                        let mut slice = Slice::new(study + 1, number);
                        slice.side = 8;
                        slice.comments = "x".repeat(askers.comments_chars);
                        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
                        let data_set = slice.data_set();
                        let status = association.store(class, &slice.instance, syntax, &data_set);
                        assert_eq!(status.expect("an answer"), 0);
                    }
                }
                association.release().expect("a release in order");
            });
        }
    });
}

/// Every instance, with some of what is known of it.
fn everything() -> Keys {
    [
        tag::SOP_CLASS,
        tag::SOP_INSTANCE,
        tag::STUDY_DATE,
        tag::PATIENT_NAME,
        tag::PATIENT_ID,
        tag::STUDY,
        tag::SERIES,
        tag::IMAGE_COMMENTS,
    ]
    .into_iter()
    .fold(Keys::at("IMAGE"), |keys, tag| keys.with(tag, ""))
}

fn questions(calling: String) -> Proposal {
    let context = Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut proposal = Proposal::new(vec![context]).relational(uid::STUDY_ROOT_FIND);
    proposal.calling = calling;
    proposal
}

/// Asks for everything, and takes nothing.
fn ask(server: &Server, index: usize) -> Result<Association, WireError> {
    let address = server.dicom();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVED_BYTES_MAX)?;
    socket.bind(&SocketAddr::new(source(index), 0).into())?;
    socket.connect(&address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let proposal = questions(format!("ASKS{}", index / 10));
    let mut association = Association::over(stream, &proposal)?;
    let request = Command::request(field::FIND, uid::STUDY_ROOT_FIND, 1, true);
    association.send(1, &request, Some(&everything().encode()))?;
    Ok(association)
}

/// Whether something has come for it.
fn has_answer(association: &mut Association) -> bool {
    let stream = association.stream();
    stream.set_nonblocking(true).expect("an open socket");
    let is_there = stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
    stream.set_nonblocking(false).expect("an open socket");
    is_there
}

/// Takes all answers, no longer slowly; how many there were, and the final status.
fn take(association: &mut Association) -> Result<(usize, u16), WireError> {
    SockRef::from(&*association.stream()).set_recv_buffer_size(1 << 20)?;
    let mut count = 0;
    loop {
        match association.receive()?.command.get(element::STATUS) {
            0xFF00 | 0xFF01 => count += 1,
            status => return Ok((count, status)),
        }
    }
}

/// Retrieves every instance over `association`: the final status, and how many came.
fn retrieve(association: &mut Association, askers: Askers) -> (u16, usize) {
    let studies = 1..=askers.instances.div_ceil(PER_STUDY);
    let studies: Vec<String> = studies.map(|study| Slice::new(study, 1).study).collect();
    let keys = Keys::at("STUDY").with(tag::STUDY, &studies.join("\\"));
    let mut count = 0;
    let ended = association.get_each(&keys, |_, _| count += 1);
    (ended.expect("C-GET is answered").status, count)
}

/// Lets askers come that take nothing until all of them have been answered, and somebody who asks
/// about one instance meanwhile, and somebody who retrieves all of them.
///
/// # Panics
/// When an answer is neither whole nor A700H without a match, or the one that asks little gets no
/// answer, or more is begun to be retrieved than there is memory for, or everything is not to be
/// had afterwards.
#[must_use]
pub fn come(askers: Askers) -> Answered {
    let server = Server::start(Options {
        config: "[dicom.limits]\nassociations = 1000\n".to_owned(),
        ..Options::default()
    });
    fill(&server, askers);
    let before = server.peak_resident_bytes();
    let mut waiting: Vec<Association> = (0..askers.count)
        .map(|index| ask(&server, index).expect("an association"))
        .collect();
    until(Duration::from_secs(50), "an answer to everybody", || {
        waiting.iter_mut().all(has_answer).then_some(())
    });

    let proposal = questions("MODEST".to_owned());
    let mut modest = Association::connect(server.dicom(), &proposal).expect("an association");
    let one = Slice::new(1, 1);
    let keys = everything().with(tag::SOP_INSTANCE, &one.instance);
    let (answers, status) = modest.find(uid::STUDY_ROOT_FIND, &keys).expect("an answer");
    assert_eq!((answers.len(), status), (1, 0));
    let contexts = vec![
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
    ];
    let mut greedy = server.associate(contexts).expect("an association");
    assert_eq!(retrieve(&mut greedy, askers), (0xA701, 0), "meanwhile");

    let all = askers.instances as usize;
    let (mut whole, mut refused) = (0, 0);
    for association in &mut waiting {
        match take(association).expect("an answer to its end") {
            (count, 0) if count == all => whole += 1,
            (0, 0xA700) => refused += 1,
            (count, status) => panic!("{count} of {all} and {status:04X}"),
        }
    }
    let keys = everything();
    let again = modest.find(uid::STUDY_ROOT_FIND, &keys);
    let (answers, status) = again.expect("an answer");
    assert_eq!((answers.len(), status), (all, 0), "afterwards");
    assert_eq!(retrieve(&mut greedy, askers), (0, all), "afterwards");
    Answered {
        whole,
        refused,
        grown_bytes: server.peak_resident_bytes() - before,
    }
}

/// 200 askers of everything in an archive of 10,000 instances.
///
/// # Panics
/// When they cost more than they may.
pub fn two_hundred() {
    let answered = come(Askers {
        count: 200,
        instances: 10_000,
        comments_chars: 500,
    });
    println!("edges: the askers cost {answered:?}");
    assert!(answered.grown_bytes <= GROWTH_BYTES_MAX, "memory");
    assert!(answered.whole > 0 && answered.refused > 0, "answers");
}

/// The budget for results, and half as much for what serves the associations.
pub const GROWTH_BYTES_MAX: u64 = 384 << 20;
