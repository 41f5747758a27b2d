//! An archive inside your own program: keep an instance, find it, read it back.

use pacs_core::access::{Find, Get, PermitAll, Store, permit};
use pacs_core::tag::tags;
use pacs_core::{Caller, Level, Query};
use pacs_examples::{STUDY, data_set, identity};
use pacs_store::Announced;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let archive = reference_server::local::open(folder.path()).await?;
    let me = Caller::System {
        task: "embed_archive",
    };

    // Your program decides who may do what: a `Policy` of your own goes where `PermitAll` stands.
    let (sop_class, sop_instance, transfer_syntax) = identity(1)?;
    let announced = Announced {
        sop_class,
        sop_instance,
        transfer_syntax,
    };
    let may_store = permit::<Store>(&PermitAll, me.clone())?;
    let mut deposit = archive.deposit(&may_store, announced, archive.provenance(&me))?;
    deposit.write(data_set(1)?).await?;
    let receipt = deposit.seal().await?; // durable from here on
    println!("kept: {:?}, BLAKE3 {:?}", receipt.outcome, receipt.digest);

    let query = Query::new(Level::Study)
        .key(tags::PATIENT_NAME, "example^*")?
        .returning(tags::NUMBER_OF_STUDY_RELATED_INSTANCES);
    let found = archive
        .search(&permit::<Find>(&PermitAll, me.clone())?, &query)
        .await?;
    println!("found: {} study", found.len());

    let may_get = permit::<Get>(&PermitAll, me)?;
    let query = Query::new(Level::Study).key(tags::STUDY_INSTANCE_UID, STUDY)?;
    for stored in archive.select(&may_get, &query).await? {
        let mut reader = archive.read(&may_get, &stored);
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        anyhow::ensure!(bytes == data_set(1)?, "what comes back is what went in");
        println!("read back: {} bytes, equal", bytes.len());
    }
    archive.close().await;
    Ok(())
}
