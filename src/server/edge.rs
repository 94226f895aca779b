//! What the edge needs, and how the admin thread directs it.

use std::{
    fs::{self, DirBuilder},
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    sync::{oneshot, watch},
    time::{Interval, interval, timeout},
};

use crate::{
    base::log::{Level, Value, emit},
    config::{Edge as Settings, Server},
    edge::{CertificateStamp, Certificates, Edge, Limits, Pair, Plan},
};

use super::{error::ServerError, ground::Ground};

/// Connections that may wait in the kernel.
const BACKLOG: i32 = 4096;
/// More than the longest wait of a worker for a provider, which is 10 minutes.
const WORKER_SILENCE_MAX: Duration = Duration::from_secs(610);
/// How often the files of certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time for the last bytes to reach clients when the workers have ended.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// The edge in the hands of the admin thread.
pub(super) struct EdgeControl {
    stamp: CertificateStamp,
    look: Interval,
    handle: EdgeHandle,
}

/// What directs the edge from outside.
pub(super) struct EdgeHandle {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where each worker is reached by the edge.
    pub worker_listeners: Vec<UnixListener>,
    certificates: Arc<Certificates>,
    drain: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
    /// Removed when the process ends.
    _sockets: SocketFiles,
}

/// Reads the certificates, binds every socket, and makes the part of the chassis; `None` without an edge in the settings.
///
/// # Errors
/// What the machine refuses, with the setting that asked for it.
pub(super) fn prepare(server: &Server, ground: &Ground) -> Result<Option<(Edge, EdgeHandle)>, ServerError> {
    let Some(settings) = &server.edge else {
        return Ok(None);
    };
    let certificates = Certificates::load(pairs(settings))
        .map_err(|error| ServerError::Limits(format!("`edge.certificates`: {error}")))?;
    let certificates = Arc::new(certificates);
    make_data_dir(&server.data_dir)?;
    check_private(&server.data_dir)?;
    let (worker_listeners, sockets) = bind_sockets(&server.data_dir, ground.pins.len())?;
    let listener = bind(settings.listen).map_err(ServerError::io("cannot listen on `edge.listen`"))?;
    let address = listener.local_addr().map_err(ServerError::io("no local address"))?;
    let (drain, draining) = watch::channel(false);
    let (ended, has_ended) = oneshot::channel();
    let edge = Edge::new(Plan {
        listener,
        sockets: sockets.0.clone(),
        certificates: Arc::clone(&certificates),
        threads: usize::from(settings.threads),
        limits: Limits {
            connections_max: ground.connections_max,
            connections_per_address_max: server.limits.max_connections_per_address,
            handshake_timeout: settings.handshake_timeout,
            write_timeout: server.limits.write_timeout,
            idle_timeout: server.limits.keepalive_timeout,
            worker_silence_max: WORKER_SILENCE_MAX,
        },
        drain: draining,
        ended,
    });
    let handle = EdgeHandle { address, worker_listeners, certificates, drain, ended: has_ended, _sockets: sockets };
    Ok(Some((edge, handle)))
}

impl EdgeControl {
    /// Takes the edge over; on a runtime with time.
    pub(super) fn new(handle: EdgeHandle) -> Self {
        Self { stamp: handle.certificates.stamp(), look: interval(LOOK_EVERY), handle }
    }

    /// Waits until a file of the certificates has changed. May be dropped and asked again.
    pub(super) async fn changed(&mut self) {
        loop {
            self.look.tick().await;
            if self.handle.certificates.stamp() != self.stamp {
                return;
            }
        }
    }

    /// Reads the certificates again. What cannot be used changes nothing and is reported.
    pub(super) fn reload(&mut self) {
        self.stamp = self.handle.certificates.stamp();
        match self.handle.certificates.reload() {
            Ok(()) => emit(Level::Info, "certificates read again", &[]),
            Err(error) => {
                let text = error.to_string();
                let fields = [("problem", Value::Text(&text))];
                emit(Level::Error, "certificates refused; those before go on serving", &fields);
            }
        }
    }

    /// Tells the edge to take nobody new and to let everybody finish.
    pub(super) fn drain(&self) {
        let _ = self.handle.drain.send(true);
    }

    /// Waits until the last bytes of the workers have reached the clients, or a few seconds.
    pub(super) async fn ended(self) {
        let _ = timeout(LAST_BYTES, self.handle.ended).await;
    }
}

/// Files of sockets, removed with this.
struct SocketFiles(Vec<PathBuf>);

impl Drop for SocketFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

fn pairs(edge: &Settings) -> Vec<Pair> {
    let pair =
        |pair: &crate::config::EdgeCertificate| Pair { cert: pair.cert.value.clone(), key: pair.key.value.clone() };
    edge.certificates.iter().map(pair).collect()
}

/// Makes the folder of the sockets, for its owner alone, unless it is there.
fn make_data_dir(folder: &Path) -> Result<(), ServerError> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(ServerError::io("`data_dir` cannot be made"))
}

/// Who may enter the folder may pose as the edge to the workers (threat T-62).
fn check_private(folder: &Path) -> Result<(), ServerError> {
    let seen =
        fs::metadata(folder).map_err(ServerError::io("`data_dir` cannot be used for the sockets of the edge"))?;
    let mode = seen.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = folder.display();
    Err(ServerError::Limits(format!(
        "`data_dir`: {path} has mode {mode:04o}, but holds the sockets of the edge; run `chmod 0700 {path}`"
    )))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One socket a worker. What a process that was killed left behind is replaced; what one still uses is not.
fn bind_sockets(folder: &Path, workers: usize) -> Result<(Vec<UnixListener>, SocketFiles), ServerError> {
    let error = ServerError::io("cannot make the sockets of the edge in `data_dir`");
    let mut listeners = Vec::with_capacity(workers);
    let mut made = SocketFiles(Vec::with_capacity(workers));
    for index in 0..workers {
        let path = folder.join(format!("edge-{index}.sock"));
        if UnixStream::connect(&path).is_ok() {
            let path = path.display();
            let message = format!("`data_dir`: another process listens on {path}; each needs a folder of its own");
            return Err(ServerError::Limits(message));
        }
        match fs::remove_file(&path) {
            Err(refused) if refused.kind() != io::ErrorKind::NotFound => return Err(error(refused)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(&error)?;
        made.0.push(path.clone());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(&error)?;
        listener.set_nonblocking(true).map_err(&error)?;
        listeners.push(listener);
    }
    Ok((listeners, made))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<(), ServerError>) -> String {
        result.err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn folder_that_others_may_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, want) in [(0o700, ""), (0o750, "run `chmod 0700"), (0o701, "run `chmod 0700")] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let said = message(check_private(folder.path()));
            assert!(said.contains(want) && said.is_empty() == want.is_empty(), "{mode:o}: {said}");
        }
    }

    #[test]
    fn sockets_of_the_dead_are_replaced_and_those_of_the_living_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (listeners, mut files) = bind_sockets(folder.path(), 2).unwrap();
        let again = message(bind_sockets(folder.path(), 2).map(drop));
        assert!(again.contains("another process listens on"), "{again}");
        drop(listeners);
        // A process that was killed removes nothing.
        files.0.clear();
        let (listeners, files) = bind_sockets(folder.path(), 2).unwrap();
        let mode = fs::metadata(folder.path().join("edge-1.sock")).unwrap().permissions().mode();
        assert_eq!((listeners.len(), mode & 0o777), (2, 0o600));
        drop(files);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
