//! A storage provider of your own: implement `StorageScp`, and receive what modalities send.

use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::AeTitle;
use pacs_examples::{SOP_CLASS, TRANSFER_SYNTAX, outgoing};
use pacs_net::Acceptor;
use pacs_net::requestor::Requestor;
use pacs_net::service::{Peer, StorageScp, StoreRequest, StoreSink};
use pacs_net::status::StoreStatus;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Counts the bytes of each instance and throws them away.
#[derive(Debug)]
struct Counting;

#[async_trait]
impl StorageScp for Counting {
    async fn begin(
        &self,
        peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        println!("{} sends {}", peer.calling_ae_title, request.sop_instance);
        Ok(Box::new(Count { bytes: 0 }))
    }
}

struct Count {
    bytes: usize,
}

#[async_trait]
impl StoreSink for Count {
    async fn write(&mut self, fragment: Bytes) -> Result<(), StoreStatus> {
        self.bytes += fragment.len();
        Ok(())
    }

    async fn end(self: Box<Self>) -> StoreStatus {
        println!(
            "{} bytes came; a real provider says Success when they are safe",
            self.bytes
        );
        StoreStatus::SUCCESS
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (ours, theirs) = (AeTitle::parse("COUNTING")?, AeTitle::parse("MODALITY")?);
    let acceptor = Acceptor::builder(ours.clone())
        .storage(Arc::new(Counting))
        .build()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        acceptor
            .serve(listener, async { drop(stopped.await) })
            .await;
    });

    // A modality would do this part.
    let builder = Requestor::builder(theirs, ours).context(SOP_CLASS, &[TRANSFER_SYNTAX]);
    let mut association = builder.connect(&address).await?;
    let response = association.store(outgoing(1)?).await?;
    println!("the modality saw status {:04X}H", response.status);
    association.release().await?;

    anyhow::ensure!(stop.send(()).is_ok(), "the provider was there to the end");
    serving.await?;
    Ok(())
}
