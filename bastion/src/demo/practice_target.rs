//! A system to practise on: a real shell in a real pty, on the loopback interface only, which
//! accepts nothing but certificates of this bastion's user CA.
//!
//! Whatever account is asked for, the shell runs as the user who started the demo, in an empty
//! home. It is no part of the product's way to real targets; those run their own sshd.

use crate::clock;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use pty_process::{OwnedWritePty, Size};
use russh::keys::ssh_key::Fingerprint;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Msg, Session, run_stream};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf,
    MethodKind, MethodSet, Pty, Sig,
};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tracing::{debug, warn};

const WINDOW: u32 = 2 * 1024 * 1024;
const PIECE: usize = 32 * 1024;
/// What a certificate has where connections may be made (OpenSSH, PROTOCOL.certkeys).
const MAY_CONNECT: &str = "permit-port-forwarding";
const SHELL: &str = "/bin/sh";
/// Where systems keep it.
const SFTP_SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
];

/// What the practice target is made of.
pub(crate) struct PracticeTarget {
    pub(crate) host_key: PrivateKey,
    /// The only authority whose certificates are accepted.
    pub(crate) user_ca: PublicKey,
    /// Where shells start; also their `HOME`.
    pub(crate) home: PathBuf,
}

/// Serves on `listener` until the process ends. Refuses to listen on anything but loopback.
pub(crate) async fn serve(target: PracticeTarget, listener: TcpListener) -> Result<()> {
    let address = listener
        .local_addr()
        .context("the practice target's address")?;
    ensure!(
        address.ip().is_loopback(),
        "the practice target listens on loopback only, not on `{address}`"
    );
    let config = Arc::new(Config {
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![target.host_key.clone()],
        window_size: WINDOW,
        channel_buffer_size: 200_000,
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    });
    let target = Arc::new(target);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "the practice target could not take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        stream.set_nodelay(true).ok();
        let shells = Shells {
            target: Arc::clone(&target),
            peer,
            channels: HashMap::new(),
            connects: Connects::No,
        };
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            let ended = match run_stream(config, stream, shells).await {
                Ok(session) => session.await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                debug!(%peer, %error, "a connection to the practice target ended");
            }
        });
    }
}

impl PracticeTarget {
    /// What `sshd` checks of a user certificate: authority, kind, dates, principal, critical
    /// options. An option that is not known refuses.
    fn accepts(&self, account: &str, certificate: &Certificate, from: IpAddr) -> bool {
        let authority: Fingerprint = self.user_ca.fingerprint(HashAlg::Sha256);
        let now = u64::try_from(clock::now().seconds()).unwrap_or(0);
        let options_hold = certificate.critical_options().iter().all(|(name, value)| {
            name == "source-address"
                && value
                    .split(',')
                    .any(|allowed| allowed.parse() == Ok(from.to_canonical()))
        });
        certificate.validate_at(now, [&authority]).is_ok()
            && certificate.cert_type() == CertType::User
            && certificate
                .valid_principals()
                .iter()
                .any(|principal| principal == account)
            && options_hold
    }
}

/// The shells of one connection.
struct Shells {
    target: Arc<PracticeTarget>,
    peer: SocketAddr,
    channels: HashMap<ChannelId, Waiting>,
    connects: Connects,
}

/// Whether the certificate lets its holder have connections made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connects {
    Yes,
    No,
}

/// A channel before its shell or command.
struct Waiting {
    channel: Channel<Msg>,
    terminal: Option<(String, Size)>,
    env: Vec<(String, String)>,
}

impl russh::server::Handler for Shells {
    type Error = russh::Error;

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        if self.target.accepts(user, certificate, self.peer.ip()) {
            if certificate.extensions().contains_key(MAY_CONNECT) {
                self.connects = Connects::Yes;
            }
            return Ok(Auth::Accept);
        }
        Ok(Auth::reject())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(
            channel.id(),
            Waiting {
                channel,
                terminal: None,
                env: Vec::new(),
            },
        );
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let (Connects::Yes, Ok(port)) = (self.connects, u16::try_from(port)) else {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        };
        let host = host.to_owned();
        tokio::spawn(async move { connect(channel, &host, port, reply).await });
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(waiting) = self.channels.get_mut(&channel) else {
            return session.channel_failure(channel);
        };
        waiting.terminal = Some((term.to_owned(), size(cols, rows)));
        session.channel_success(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&channel) {
            Some(waiting) if name == "LANG" || name.starts_with("LC_") => {
                waiting.env.push((name.to_owned(), value.to_owned()));
                session.channel_success(channel)
            }
            Some(_) | None => session.channel_failure(channel),
        }
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.run(channel, None, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.run(channel, Some(&String::from_utf8_lossy(command)), session)
    }

    /// Files, where this machine has OpenSSH's server for them.
    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let server = SFTP_SERVERS.iter().find(|path| Path::new(path).exists());
        match server {
            Some(server) if name == "sftp" => {
                self.run(channel, Some(&format!("exec {server}")), session)
            }
            Some(_) | None => session.channel_failure(channel),
        }
    }
}

impl Shells {
    fn run(
        &mut self,
        id: ChannelId,
        command: Option<&str>,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(waiting) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        let started = match waiting.terminal {
            Some((term, size)) => {
                on_terminal(&self.target.home, &term, size, command, &waiting.env)
            }
            None => on_pipes(&self.target.home, command, &waiting.env),
        };
        match started {
            Ok(running) => {
                session.channel_success(id)?;
                let channel = waiting.channel;
                tokio::spawn(async move { attend(channel, running).await });
                Ok(())
            }
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    "the practice target could not start a shell"
                );
                session.channel_failure(id)
            }
        }
    }
}

/// A shell or command that runs, and its ends.
struct Running {
    child: Child,
    input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// The terminal, to be resized.
    terminal: Option<OwnedWritePty>,
    output: Box<dyn AsyncRead + Send + Unpin>,
    errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
}

fn on_terminal(
    home: &Path,
    term: &str,
    size: Size,
    command: Option<&str>,
    env: &[(String, String)],
) -> Result<Running> {
    let (pty, pts) = pty_process::open().context("no pty")?;
    pty.resize(size).context("the pty's size")?;
    let mut shell = pty_process::Command::new(SHELL)
        .env_clear()
        .envs(surroundings(home))
        .envs(env.iter().cloned())
        .env("TERM", term)
        .current_dir(home)
        .kill_on_drop(true);
    shell = match command {
        Some(command) => shell.args(["-c", command]),
        None => shell.arg("-i").env("PS1", "practice$ "),
    };
    let child = shell.spawn(pts).context("no shell")?;
    let (output, terminal) = pty.into_split();
    Ok(Running {
        child,
        input: None,
        terminal: Some(terminal),
        output: Box::new(output),
        errors: None,
    })
}

fn on_pipes(home: &Path, command: Option<&str>, env: &[(String, String)]) -> Result<Running> {
    let mut shell = Command::new(SHELL);
    shell
        .env_clear()
        .envs(surroundings(home))
        .envs(env.iter().cloned())
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(command) = command {
        shell.args(["-c", command]);
    }
    let mut child = shell.spawn().context("no shell")?;
    let input = child.stdin.take().context("no input")?;
    let output = child.stdout.take().context("no output")?;
    let errors = child.stderr.take().context("no error output")?;
    Ok(Running {
        child,
        input: Some(Box::new(input)),
        terminal: None,
        output: Box::new(output),
        errors: Some(Box::new(errors)),
    })
}

fn surroundings(home: &Path) -> [(&'static str, std::ffi::OsString); 4] {
    [
        ("HOME", home.as_os_str().to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
        ("SHELL", SHELL.into()),
        ("USER", "practice".into()),
    ]
}

/// Carries input and output until the shell has ended and all it wrote was sent.
async fn attend(channel: Channel<Msg>, running: Running) {
    let (incoming, outgoing) = channel.split();
    let Running {
        mut child,
        input,
        terminal,
        output,
        errors,
    } = running;
    let feeding = tokio::spawn(feed(incoming, input, terminal));
    let said = send(&outgoing, None, output);
    let complained = async {
        if let Some(errors) = errors {
            send(&outgoing, Some(1), errors).await;
        }
    };
    let ended = async {
        tokio::select! {
            ((), ()) = async { tokio::join!(said, complained) } => child.wait().await,
            // The operator left: the shell is not kept.
            () = outgoing.closed() => { child.kill().await.ok(); child.wait().await }
        }
    };
    let status = ended.await;
    feeding.abort();
    tell(&outgoing, status.ok()).await;
}

async fn tell(outgoing: &ChannelWriteHalf<Msg>, status: Option<ExitStatus>) {
    drop(outgoing.eof().await);
    if let Some(signal) = status.and_then(|status| status.signal()).map(signal_name) {
        let said = outgoing.exit_signal(signal, false, String::new(), String::new());
        drop(said.await);
    } else {
        let code = status.and_then(|status| status.code());
        let code = code.and_then(|code| u32::try_from(code).ok());
        drop(outgoing.exit_status(code.unwrap_or(255)).await);
    }
    drop(outgoing.close().await);
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is no input, size or end is nothing to a shell"
)]
async fn feed(
    mut incoming: ChannelReadHalf,
    mut input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    mut terminal: Option<OwnedWritePty>,
) {
    while let Some(message) = incoming.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                let written = match (&mut terminal, &mut input) {
                    (Some(terminal), _) => terminal.write_all(&data).await,
                    (None, Some(input)) => input.write_all(&data).await,
                    (None, None) => Ok(()),
                };
                // A program that stopped reading is no failure; what follows is taken and dropped.
                if written.is_err() {
                    input = None;
                }
            }
            ChannelMsg::Eof => input = None,
            ChannelMsg::WindowChange {
                col_width,
                row_height,
                ..
            } => {
                if let Some(terminal) = &terminal {
                    terminal.resize(size(col_width, row_height)).ok();
                }
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

/// One connection from here, to its end.
async fn connect(channel: Channel<Msg>, host: &str, port: u16, reply: ChannelOpenHandle) {
    let Ok(mut stream) = TcpStream::connect((host, port)).await else {
        reply.reject(ChannelOpenFailure::ConnectFailed).await;
        return;
    };
    reply.accept().await;
    if let Err(error) = copy_bidirectional(&mut channel.into_stream(), &mut stream).await {
        debug!(%error, "a connection from the practice target ended");
    }
}

async fn send(
    outgoing: &ChannelWriteHalf<Msg>,
    stream: Option<u32>,
    mut from: Box<dyn AsyncRead + Send + Unpin>,
) {
    let mut piece = vec![0; PIECE];
    loop {
        // A pty whose shell has ended reads as an error; that is its end of file.
        let Ok(read @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let data = Bytes::copy_from_slice(piece.get(..read).unwrap_or_default());
        let sent = match stream {
            None => outgoing.data_bytes(data).await,
            Some(stream) => outgoing.extended_data_bytes(stream, data).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn size(cols: u32, rows: u32) -> Size {
    let fit = |n: u32, otherwise: u16| {
        u16::try_from(n)
            .ok()
            .filter(|n| *n > 0)
            .unwrap_or(otherwise)
    };
    Size::new(fit(rows, 24), fit(cols, 80))
}

fn signal_name(number: i32) -> Sig {
    match number {
        1 => Sig::HUP,
        2 => Sig::INT,
        3 => Sig::QUIT,
        4 => Sig::ILL,
        6 => Sig::ABRT,
        8 => Sig::FPE,
        9 => Sig::KILL,
        10 => Sig::USR1,
        11 => Sig::SEGV,
        13 => Sig::PIPE,
        14 => Sig::ALRM,
        15 => Sig::TERM,
        other => Sig::Custom(format!("{other}@bastion")),
    }
}
