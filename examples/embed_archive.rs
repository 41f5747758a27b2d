//! An archive inside your own program: keep an instance, find it, read it back.

use pacs_core::access::{Find, Get, PermitAll, Store, permit};
use pacs_core::tag::tags;
use pacs_core::{Caller, Level, Query};
use pacs_examples::{STUDY, announced, data_set};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let archive = reference_server::local::open(folder.path()).await?;
    // Your program decides who may do what: a `Policy` of your own goes where `PermitAll` stands.
    let me = Caller::System { task: "example" };
    let may_store = permit::<Store>(&PermitAll, me.clone())?;
    let may_find = permit::<Find>(&PermitAll, me.clone())?;
    let may_get = permit::<Get>(&PermitAll, me)?;

    let provenance = archive.provenance_of(&may_store);
    let mut deposit = archive.deposit(&may_store, announced(1)?, provenance)?;
    deposit.write(data_set(1)?).await?;
    let receipt = deposit.seal().await?; // durable from here on
    println!("kept: {:?}, BLAKE3 {:?}", receipt.outcome, receipt.digest);

    let query = Query::new(Level::Study).key(tags::PATIENT_NAME, "example^*")?;
    let found = archive.search(&may_find, &query).await?;
    println!("found: {} study", found.len());

    let query = Query::new(Level::Study).key(tags::STUDY_INSTANCE_UID, STUDY)?;
    for stored in archive.select(&may_get, &query).await? {
        let mut reader = archive.read(&may_get, &stored);
        let chunk = reader.next().await?; // a large instance comes in several
        anyhow::ensure!(chunk == Some(data_set(1)?), "not what went in");
    }
    archive.close().await;
    Ok(())
}
