//! Send instances to an archive and ask it what it has: C-ECHO, C-STORE and C-FIND as a user.

use bytes::Bytes;
use pacs_core::tag::tags;
use pacs_core::{AeTitle, Level, Query};
use pacs_examples::{SOP_CLASS, TRANSFER_SYNTAX, outgoing};
use pacs_net::requestor::Requestor;
use pacs_net::sop_class::{STUDY_ROOT_FIND, VERIFICATION};
use reference_server::config::{Config, Options};
use reference_server::server::Server;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // An archive to talk to; yours is somewhere else.
    let folder = tempfile::tempdir()?;
    let options = Options {
        data: Some(folder.path().into()),
        dicom: Some("127.0.0.1:0".into()),
        http: Some("127.0.0.1:0".into()),
        ..Options::default()
    };
    let server = Server::start(&Config::load(&options)?).await?;
    let dicom = server.addresses()?.dicom;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async { drop(stopped.await) }));

    let mut association = Requestor::builder(AeTitle::parse("EXAMPLE")?, AeTitle::parse("PACS")?)
        .context(VERIFICATION, &[TRANSFER_SYNTAX])
        .context(SOP_CLASS, &[TRANSFER_SYNTAX])
        .context(STUDY_ROOT_FIND, &[TRANSFER_SYNTAX])
        .connect(&dicom.to_string())
        .await?;
    association.echo().await?;
    for number in 1..=3 {
        let response = association.store(outgoing(number)?).await?;
        println!("instance {number}: status {:04X}H", response.status);
    }
    let query = Query::new(Level::Study)
        .key(tags::PATIENT_ID, "EXAMPLE-1")?
        .returning(tags::NUMBER_OF_STUDY_RELATED_INSTANCES);
    let transfer_syntax = association.context(STUDY_ROOT_FIND)?.transfer_syntax;
    let identifier = Bytes::from(query.to_identifier(&transfer_syntax)?);
    let mut find = association.find(STUDY_ROOT_FIND, identifier).await?;
    let mut studies_count = 0;
    while let Some(identifier) = find.next().await? {
        studies_count += 1;
        println!("a study: identifier of {} bytes", identifier.len());
    }
    anyhow::ensure!(studies_count == 1, "three instances, one study");
    association.release().await?;

    anyhow::ensure!(stop.send(()).is_ok(), "the server was there to the end");
    serving.await?;
    Ok(())
}
