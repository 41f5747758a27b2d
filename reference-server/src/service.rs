//! What systemd is told about the server it has started: the protocol of `sd_notify(3)`.

/// Tells it `state`, such as `READY=1`; nothing where something else started this process. That it
/// cannot be told is no reason not to serve.
pub fn notify(state: &str) {
    #[cfg(target_os = "linux")]
    if let Err(error) = send(state) {
        tracing::warn!(%error, "systemd could not be told how far the server is");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = state;
}

#[cfg(target_os = "linux")]
fn send(state: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
