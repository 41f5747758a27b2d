//! Modality worklist and performed procedure steps, requestor against acceptor.

use crate::archive::builder;
use crate::services::title;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::{SopInstanceUid, Tag};
use pacs_net::service::{
    Matches, Peer, ProcedureStepScp, StepChange, StepCreation, WorklistRequest, WorklistScp,
};
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, MODALITY_PERFORMED_PROCEDURE_STEP,
    MODALITY_WORKLIST_FIND, STUDY_ROOT_FIND,
};
use pacs_net::status::{CreateStatus, FindStatus, SetStatus};
use pacs_net::{AcceptorBuilder, NetLimits, Requestor, RequestorBuilder, RequestorError};
use std::sync::{Arc, Mutex};
use tokio::io::DuplexStream;

/// Answers what it is asked, so many times; endlessly where `answers` is `None`.
#[derive(Debug)]
struct List {
    answers: Option<usize>,
}

struct Answers {
    left: Option<usize>,
    answer: Bytes,
}

#[async_trait]
impl WorklistScp for List {
    async fn worklist(
        &self,
        peer: &Peer,
        request: WorklistRequest,
    ) -> Result<Box<dyn Matches>, FindStatus> {
        assert_eq!(peer.calling_ae_title.as_str(), "SCU");
        if request.identifier == b"no".as_slice() {
            return Err(FindStatus::NOT_AUTHORIZED.with_comment("not you"));
        }
        Ok(Box::new(Answers {
            left: self.answers,
            answer: request.identifier,
        }))
    }
}

#[async_trait]
impl Matches for Answers {
    async fn next(&mut self) -> Result<Option<Bytes>, FindStatus> {
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return Ok(None);
            }
            *left -= 1;
        }
        Ok(Some(self.answer.clone()))
    }

    fn has_unsupported_keys(&self) -> bool {
        self.answer == b"odd!".as_slice()
    }
}

/// Remembers steps: an instance that ends with 9 has ended.
#[derive(Debug, Default)]
struct Steps(Mutex<Vec<(String, Bytes)>>);

#[async_trait]
impl ProcedureStepScp for Steps {
    async fn create(
        &self,
        _peer: &Peer,
        request: StepCreation,
    ) -> Result<SopInstanceUid, CreateStatus> {
        let given = SopInstanceUid::parse("2.25.1").unwrap();
        let instance = request.sop_instance.unwrap_or(given);
        let mut steps = self.0.lock().unwrap();
        if steps.iter().any(|(uid, _)| uid == instance.as_str()) {
            return Err(CreateStatus::DUPLICATE_SOP_INSTANCE);
        }
        steps.push((instance.as_str().to_owned(), request.attributes));
        Ok(instance)
    }

    async fn set(&self, _peer: &Peer, request: StepChange) -> SetStatus {
        let uid = request.sop_instance.as_str().to_owned();
        if uid.ends_with('9') {
            let why = "Performed Procedure Step Object may no longer be updated";
            return SetStatus::PROCESSING_FAILURE
                .with_error_id(0xa710)
                .with_comment(why);
        }
        self.0.lock().unwrap().push((uid, request.modifications));
        SetStatus::ATTRIBUTE_LIST_ERROR.with_offending_elements(vec![Tag(0x0010, 0x0010)])
    }
}

fn offering(answers: Option<usize>) -> (AcceptorBuilder, Arc<Steps>) {
    let steps = Arc::new(Steps::default());
    let acceptor = builder(&Arc::default())
        .worklist(Arc::new(List { answers }))
        .procedure_steps(Arc::clone(&steps) as _);
    (acceptor, steps)
}

fn asking() -> RequestorBuilder {
    Requestor::builder(title("SCU"), title("PACS"))
        .context(MODALITY_WORKLIST_FIND, &[IMPLICIT_VR_LITTLE_ENDIAN])
        .context(
            MODALITY_PERFORMED_PROCEDURE_STEP,
            &[EXPLICIT_VR_LITTLE_ENDIAN],
        )
        .context(STUDY_ROOT_FIND, &[EXPLICIT_VR_LITTLE_ENDIAN])
}

async fn connect(acceptor: AcceptorBuilder, asking: RequestorBuilder) -> Requestor<DuplexStream> {
    let acceptor = acceptor.build().unwrap();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let _ending = acceptor
            .serve_stream(theirs, ([127, 0, 0, 1], 1).into())
            .await;
    });
    asking.connect_stream(ours).await.unwrap()
}

fn step(text: &str) -> SopInstanceUid {
    SopInstanceUid::parse(text).unwrap()
}

#[tokio::test]
async fn a_worklist_is_answered_and_an_archive_beside_it_too() {
    let (acceptor, _) = offering(Some(200));
    let mut requestor = connect(acceptor, asking()).await;

    for question in [&b"what?!"[..], b"odd!"] {
        let question = Bytes::from_static(question);
        let mut find = requestor
            .find(MODALITY_WORKLIST_FIND, question.clone())
            .await
            .unwrap();
        let mut answers = 0;
        while let Some(answer) = find.next().await.unwrap() {
            assert_eq!(answer, question);
            answers += 1;
        }
        assert_eq!((answers, find.final_status()), (200, Some(0)));
    }
    let mut find = requestor
        .find(STUDY_ROOT_FIND, Bytes::from_static(b"what?!"))
        .await
        .unwrap();
    assert_eq!(find.next().await.unwrap(), None);
    let mut find = requestor
        .find(MODALITY_WORKLIST_FIND, Bytes::from_static(b"no"))
        .await
        .unwrap();
    let error = find.next().await.unwrap_err();
    assert_eq!(error.to_string(), "status 0124H: not you");
    requestor.release().await.unwrap();
}

#[tokio::test]
async fn a_worklist_without_end_ends_when_it_is_cancelled() {
    let (acceptor, _) = offering(None);
    let mut requestor = connect(acceptor, asking()).await;
    let mut find = requestor
        .find(MODALITY_WORKLIST_FIND, Bytes::from_static(b"what?!"))
        .await
        .unwrap();
    assert!(find.next().await.unwrap().is_some());

    find.cancel().await.unwrap();

    while find.next().await.unwrap().is_some() {}
    assert_eq!(find.final_status(), Some(0xfe00));
    requestor.release().await.unwrap();
}

#[tokio::test]
async fn a_step_is_made_and_changed_and_the_provider_names_what_has_no_name() {
    let (acceptor, steps) = offering(Some(0));
    let mut requestor = connect(acceptor, asking()).await;
    let list = Bytes::from_static(b"list");

    let ours = step("1.2.3.4");
    let made = requestor.create_step(Some(&ours), list.clone()).await;
    assert_eq!(made.unwrap().sop_instance, Some(ours.clone()));
    let given = requestor.create_step(None, list.clone()).await.unwrap();
    assert_eq!(given.sop_instance, Some(step("2.25.1")));
    let again = requestor.create_step(Some(&ours), list.clone()).await;
    assert_eq!(again.unwrap_err().to_string(), "status 0111H");

    let changed = requestor.set_step(&ours, list.clone()).await.unwrap();
    assert_eq!(changed.status, 0x0107);
    assert_eq!(changed.offending_elements, [Tag(0x0010, 0x0010)]);
    let refused = requestor.set_step(&step("1.2.9"), list.clone()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "status 0110H: Performed Procedure Step Object may no longer be updated"
    );
    let kept = steps.0.lock().unwrap().clone();
    let expected = ["1.2.3.4", "2.25.1", "1.2.3.4"];
    let expected = expected.map(|uid| (uid.to_owned(), list.clone()));
    assert_eq!(kept, expected);
    requestor.release().await.unwrap();
}

#[tokio::test]
async fn a_step_that_is_too_long_or_empty_is_refused_and_the_association_lives_on() {
    let (acceptor, steps) = offering(Some(0));
    let limits = NetLimits {
        procedure_step_bytes_max: 100,
        ..NetLimits::default()
    };
    let mut requestor = connect(acceptor.limits(limits), asking()).await;

    let long = Bytes::from(vec![0; 102]);
    let refused = requestor.create_step(None, long.clone()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "status 0213H: attribute list is too long"
    );
    let refused = requestor.set_step(&step("1.2.3"), long).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "status 0213H: modification list is too long"
    );
    let refused = requestor.create_step(None, Bytes::new()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "status 0212H: N-CREATE without a data set"
    );
    assert!(steps.0.lock().unwrap().is_empty());
    requestor.release().await.unwrap();
}

#[tokio::test]
async fn what_an_acceptor_does_not_have_is_not_negotiated() {
    let mut requestor = connect(builder(&Arc::default()), asking()).await;

    for class in [MODALITY_WORKLIST_FIND, MODALITY_PERFORMED_PROCEDURE_STEP] {
        let refused = requestor.context(class).unwrap_err();
        assert!(matches!(
            refused,
            RequestorError::NoPresentationContext { .. }
        ));
    }
    let refused = requestor
        .create_step(None, Bytes::from_static(b"list"))
        .await;
    assert!(matches!(
        refused.unwrap_err(),
        RequestorError::NoPresentationContext { .. }
    ));
    requestor.release().await.unwrap();
}
