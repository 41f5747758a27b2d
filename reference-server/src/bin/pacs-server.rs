//! The archive server. `pacs-server --help` tells its settings; docs/operations.md explains them.

use anyhow::Context as _;
use clap::Parser as _;
use reference_server::config::{Config, Options};
use reference_server::demo::Demo;
use reference_server::logging;
use reference_server::server::{Outcome, Server, StartError};
use reference_server::service;
use reference_server::tool::failure::chain;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// The settings are wrong.
const EXIT_SETTINGS: u8 = 2;

/// The store failed; a restart recovers.
const EXIT_STORE_FAILED: u8 = 3;

fn main() -> ExitCode {
    // The server decodes pixel data in processes of this same program.
    if let Some(code) = pacs_image::worker::run_if_asked() {
        return code;
    }
    let mut options = Options::parse();
    logging::start();
    let demo = match Demo::prepare(&mut options) {
        Ok(demo) => demo,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            return ExitCode::from(EXIT_SETTINGS);
        }
    };
    let code = run(&options, demo.as_ref());
    if let Some(demo) = demo {
        // What the server had open is closed.
        demo.clear();
    }
    code
}

fn run(options: &Options, demo: Option<&Demo>) -> ExitCode {
    let config = match Config::load(options) {
        Ok(config) => config,
        Err(error) => {
            for fault in error.faults {
                tracing::error!("{fault}");
            }
            return ExitCode::from(EXIT_SETTINGS);
        }
    };
    if let Some(Err(error)) = demo.map(|demo| demo.check(&config)) {
        tracing::error!("{error}");
        return ExitCode::from(EXIT_SETTINGS);
    }
    match serve(&config, options, demo) {
        Ok(Outcome::Stopped) => ExitCode::SUCCESS,
        Ok(Outcome::Broken) => {
            tracing::error!("a part of the server ended; restart");
            ExitCode::FAILURE
        }
        Ok(Outcome::StoreFailed) => {
            tracing::error!("the store failed; restart to recover, nothing acknowledged is lost");
            ExitCode::from(EXIT_STORE_FAILED)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            if let Some(StartError::Tls(_)) = error.downcast_ref() {
                return ExitCode::from(EXIT_SETTINGS);
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config, options: &Options, demo: Option<&Demo>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut stop = std::pin::pin!(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        let server = tokio::select! {
            server = Server::start(config) => server?,
            () = &mut stop => return Ok(Outcome::Stopped),
        };
        let at = server.addresses()?;
        let told = match demo {
            Some(demo) => Some(demo.told(at, &demo.fill(&server).await?)),
            None => None,
        };
        if config.is_insecure() {
            tracing::warn!(dicom = %at.dicom, "DICOM without TLS is offered beyond this machine");
        }
        if config.is_http_insecure() {
            tracing::warn!(http = %at.http, "HTTP without TLS is offered beyond this machine");
        }
        let mut out = std::io::stdout();
        write!(out, "ready dicom={} http={}", at.dicom, at.http)?;
        if let Some(dicom_tls) = at.dicom_tls {
            write!(out, " dicom_tls={dicom_tls}")?;
        }
        writeln!(out)?;
        if let Some(told) = told {
            write!(out, "{told}")?;
        } else if let Some(token) = server.set_up_token() {
            writeln!(
                out,
                "nobody has an account yet; for 15 minutes the first can be made by POST \
                 /api/v1/set-up with the token {token}"
            )?;
        }
        out.flush()?;
        service::notify("READY=1");
        let reload = Arc::new(server.reload(options));
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                let reload = Arc::clone(&reload);
                // Host names are resolved, which must not stop anything else.
                tokio::task::spawn_blocking(move || reload.run()).await.ok();
            }
        });
        let stop = async {
            stop.await;
            tracing::info!("draining");
            service::notify("STOPPING=1");
        };
        anyhow::Ok(server.run(stop).await)
    })?;
    // A store that failed may have threads that never return.
    runtime.shutdown_background();
    Ok(outcome)
}
