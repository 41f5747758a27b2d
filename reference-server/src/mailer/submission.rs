//! One message, submitted to a mail server (RFC 6409) over a connection of its own.

use super::message::Message;
use crate::config::mail::MailConfig;
use crate::limits::MAIL_DURATION_MAX;
use crate::secret_file::Secret;
use crate::tls::{TlsFileError, outgoing};
use mail_send::smtp::message::Parameters;
use mail_send::{Credentials, SmtpClient};
use pacs_net::ByteStream;
use std::io;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What we call ourselves to a mail server.
const OWN_NAME: &str = "pacs-server";

/// Why a message was not submitted. It may be, later.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubmitError {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Files(#[from] TlsFileError),
    #[error("the mail server: {0}")]
    Server(String),
    #[error("it took too long")]
    Slow,
}

/// How the mail server took a message.
pub(super) enum Taken {
    Yes,
    /// It never takes it, as it says.
    Never(String),
}

/// Submits a message.
///
/// # Errors
/// [`SubmitError`]; the server may have taken it where the connection was lost at its end.
pub(super) async fn submit(
    config: &MailConfig,
    password: Option<&Secret>,
    message: &Message<'_>,
) -> Result<Taken, SubmitError> {
    let submitted = timeout(MAIL_DURATION_MAX, talk(config, password, message)).await;
    submitted.map_err(|_elapsed| SubmitError::Slow)?
}

async fn talk(
    config: &MailConfig,
    password: Option<&Secret>,
    message: &Message<'_>,
) -> Result<Taken, SubmitError> {
    let mut client = SmtpClient {
        stream: connect(config).await?,
        timeout: MAIL_DURATION_MAX,
    };
    let greeting = client.read().await.map_err(of_server)?;
    if !greeting.is_positive_completion() {
        return Err(SubmitError::Server(greeting.to_string()));
    }
    let offered = client.ehlo(OWN_NAME).await.map_err(of_server)?;
    if let (Some((user, _)), Some(Secret(password))) = (&config.credentials, password) {
        let credentials = Credentials::new(user.as_str(), password.as_str());
        let signed_in = client.authenticate(&credentials, &offered).await;
        signed_in.map(drop).map_err(of_server)?;
    }
    let none = Parameters::new();
    // Whoever takes nothing of ours takes it once that is put right.
    let begun = client.mail_from(message.from, &none).await;
    begun.map_err(of_server)?;
    let sent = match client.rcpt_to(message.to, &none).await {
        Ok(()) => client.data(&message.bytes).await.map(drop),
        Err(error) => Err(error),
    };
    client.quit().await.ok();
    match sent {
        Ok(()) => Ok(Taken::Yes),
        Err(mail_send::Error::UnexpectedReply(answer)) if answer.code() >= 500 => {
            Ok(Taken::Never(answer.to_string()))
        }
        Err(error) => Err(of_server(error)),
    }
}

async fn connect(config: &MailConfig) -> Result<Box<dyn ByteStream>, SubmitError> {
    if let Some(tls) = &config.tls {
        let opened = outgoing("mail", tls)?.open(&config.server).await;
        return opened.map_err(SubmitError::Connect);
    }
    let opened = TcpStream::connect(&config.server).await;
    Ok(Box::new(opened.map_err(SubmitError::Connect)?))
}

fn of_server(error: mail_send::Error) -> SubmitError {
    SubmitError::Server(error.to_string())
}
