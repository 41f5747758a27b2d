//! DICOMweb in a program of your own: the routes over an archive, beside others, without a server
//! of ours. A client asks for the studies.

use axum::Router;
use axum::routing::get;
use pacs_core::Caller;
use pacs_core::access::{PermitAll, Store, permit};
use pacs_examples::{announced, data_set};
use pacs_store::disk::OsDisk;
use pacs_store::index::redb::{RedbIndex, RedbOptions};
use pacs_store::{Archive, ArchiveOptions, DataDirectory};
use pacs_web::{Options, WebLimits, router};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let directory = DataDirectory::open(Arc::new(OsDisk::open(folder.path())?))?;
    let index = Arc::new(RedbIndex::open(&directory, &RedbOptions::default())?);
    let archive = Archive::open(ArchiveOptions::new(directory, index)).await?;
    let may_store = permit::<Store>(&PermitAll, Caller::System { task: "example" })?;
    let provenance = archive.provenance_of(&may_store);
    let mut deposit = archive.deposit(&may_store, announced(1)?, provenance)?;
    deposit.write(data_set(1)?).await?;
    deposit.seal().await?;

    // Who asks, and what they may do, is for your program to say: `Options::identify`, `policy`.
    let options = Options {
        prefix: "/dicomweb".to_owned(),
        ..Options::open_to_all(WebLimits::default())
    };
    let app = Router::new()
        .route("/", get(async || "a program of your own"))
        .nest("/dicomweb", router(archive.clone(), options));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut client = TcpStream::connect(address).await?;
    let request = format!(
        "GET /dicomweb/studies?PatientName=example* HTTP/1.1\r\nHost: {address}\r\n\
         Accept: application/dicom+json\r\nConnection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    anyhow::ensure!(answer.contains("Example^Patient"), "{answer}");
    println!("found over DICOMweb:\n{answer}");

    serving.abort();
    archive.close().await;
    Ok(())
}
