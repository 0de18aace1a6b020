//! The connection to the target: the registered address, the pinned host key, and a certificate
//! for a key made for this session alone.

use crate::clock;
use crate::secrets::{self, SshKeys};
use access::forward::Endpoint;
use access::grant::Operation;
use access::{Permit, SessionId, Time};
use russh::client;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelOpenFailure, Preferred, SshId};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a target may take to answer, from the first packet to the accepted certificate.
const PATIENCE: Duration = Duration::from_secs(15);
/// Channels that a target may try to open; then it is left.
const MOST_OPENED: u32 = 16;
/// Clocks of targets may be this far behind.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// A connection to the account that the permit names. It holds the permit for as long as it lives.
pub(crate) struct Upstream {
    handle: client::Handle<Pinned>,
    permit: Permit,
    /// Channels that the target wanted to open.
    opened: Arc<AtomicU32>,
}

/// Why a target was not reached. Sentences for the operator; causes for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("target `{target}` does not answer at its registered address")]
    Unreachable {
        target: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("target `{target}` did not answer in time")]
    TooSlow { target: String },
    #[error(
        "the host key of `{target}` is not the pinned one; nothing was sent, an administrator has to look"
    )]
    HostKeyMismatch { target: String },
    #[error("target `{target}` does not accept the bastion's certificate for `{account}`")]
    NotAccepted { target: String, account: String },
    #[error("target `{target}` does not speak SSH as it should")]
    Protocol {
        target: String,
        #[source]
        cause: russh::Error,
    },
    #[error("the credential for `{target}` could not be made")]
    Credential { target: String },
}

impl UpstreamError {
    /// Stable code for the trace.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "target_unreachable",
            Self::TooSlow { .. } => "target_too_slow",
            Self::HostKeyMismatch { .. } => "host_key_mismatch",
            Self::NotAccepted { .. } => "target_refused_certificate",
            Self::Protocol { .. } => "target_protocol_error",
            Self::Credential { .. } => "credential_failed",
        }
    }
}

/// Connects to what `permit` names. Takes the permit: it is the only key to a target.
pub(crate) async fn connect(
    permit: Permit,
    session: &SessionId,
    keys: &SshKeys,
) -> Result<Upstream, UpstreamError> {
    let target = permit.target().id.to_string();
    let connecting = establish(&permit, session, keys);
    match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(established) => {
            let (handle, opened) = established?;
            Ok(Upstream {
                handle,
                permit,
                opened,
            })
        }
        Err(_) => Err(UpstreamError::TooSlow { target }),
    }
}

impl Upstream {
    /// The permit under which this connection was made.
    pub(crate) const fn permit(&self) -> &Permit {
        &self.permit
    }

    /// A new channel on the target.
    pub(crate) async fn open_channel(&self) -> Result<Channel<client::Msg>, UpstreamError> {
        self.handle
            .channel_open_session()
            .await
            .map_err(|cause| UpstreamError::Protocol {
                target: self.permit.target().id.to_string(),
                cause,
            })
    }

    /// A connection from the target to `to`. Waits for as long as the target tries; fails with the
    /// target's own reason, where it gave one.
    pub(crate) async fn open_connection(
        &self,
        to: &Endpoint,
        from: IpAddr,
        from_port: u32,
    ) -> Result<Channel<client::Msg>, ChannelOpenFailure> {
        let (host, port) = (to.host(), u32::from(to.port()));
        let opened = self
            .handle
            .channel_open_direct_tcpip(host, port, from.to_string(), from_port)
            .await;
        opened.map_err(|error| {
            if let russh::Error::ChannelOpenFailure(reason) = error {
                reason
            } else {
                ChannelOpenFailure::ConnectFailed
            }
        })
    }

    /// How many channels the target wanted to open, if any. None of them was.
    pub(crate) fn refused_channels(&self) -> Option<u32> {
        let opened = self.opened.load(Ordering::Relaxed);
        (opened > 0).then_some(opened)
    }

    /// Ends the connection, and every channel on it.
    pub(crate) async fn close(&self) {
        let said = self.handle.disconnect(
            russh::Disconnect::ByApplication,
            "the session has ended",
            "en",
        );
        // A target that does not take it is dropped with the handle.
        drop(tokio::time::timeout(Duration::from_secs(2), said).await);
    }
}

async fn establish(
    permit: &Permit,
    session: &SessionId,
    keys: &SshKeys,
) -> Result<(client::Handle<Pinned>, Arc<AtomicU32>), UpstreamError> {
    let target = permit.target();
    let name = target.id.to_string();
    let stream = TcpStream::connect(&target.details.address)
        .await
        .map_err(|cause| UpstreamError::Unreachable {
            target: name.clone(),
            cause,
        })?;
    stream.set_nodelay(true).ok();
    let from = stream
        .local_addr()
        .map_err(|cause| UpstreamError::Unreachable {
            target: name.clone(),
            cause,
        })?;

    let pinned: Vec<PublicKey> = target
        .details
        .host_keys
        .iter()
        .filter_map(|key| PublicKey::from_openssh(key).ok())
        .collect();
    let mismatch = Arc::new(AtomicBool::new(false));
    let opened = Arc::new(AtomicU32::new(0));
    let config = Arc::new(config(&pinned));
    let handler = Pinned {
        keys: pinned,
        mismatch: Arc::clone(&mismatch),
        opened: Arc::clone(&opened),
    };
    let mut handle = client::connect_stream(config, stream, handler)
        .await
        .map_err(|cause| {
            if mismatch.load(Ordering::Relaxed) {
                UpstreamError::HostKeyMismatch {
                    target: name.clone(),
                }
            } else {
                UpstreamError::Protocol {
                    target: name.clone(),
                    cause,
                }
            }
        })?;

    let (key, certificate) = credential(permit, session, keys, from.ip(), clock::now())
        .ok_or_else(|| UpstreamError::Credential {
            target: name.clone(),
        })?;
    let account = permit.account().to_string();
    let accepted = handle
        .authenticate_openssh_cert(account.clone(), Arc::new(key), certificate)
        .await
        .map_err(|cause| UpstreamError::Protocol {
            target: name.clone(),
            cause,
        })?;
    if accepted.success() {
        Ok((handle, opened))
    } else {
        Err(UpstreamError::NotAccepted {
            target: name,
            account,
        })
    }
}

/// A key for this session alone, with a certificate of the bastion's user CA: valid until the
/// permit ends, from this address, for one account, and named after the person, the intervention
/// and the session, so that the target's own log names them too.
fn credential(
    permit: &Permit,
    session: &SessionId,
    keys: &SshKeys,
    from: IpAddr,
    now: Time,
) -> Option<(PrivateKey, Certificate)> {
    let seed = secrets::random::<32>().ok()?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let nonce = secrets::random::<16>().ok()?;
    let seconds = |time: Time| u64::try_from(time.seconds()).ok();
    let (after, before) = (
        seconds(now.minus(CLOCK_SKEW))?,
        seconds(permit.ends_at())?.checked_add(1)?,
    );
    let mut builder = Builder::new(nonce, key.public_key(), after, before).ok()?;
    builder.cert_type(CertType::User).ok()?;
    builder.valid_principal(permit.account().as_str()).ok()?;
    builder
        .key_id(format!(
            "{} {} {session}",
            permit.operator(),
            permit.intervention()
        ))
        .ok()?;
    builder
        .critical_option("source-address", from.to_canonical().to_string())
        .ok()?;
    builder.extension("permit-pty", "").ok()?;
    if permit.operations().contains(&Operation::Forward) && !permit.forwards().is_empty() {
        builder.extension("permit-port-forwarding", "").ok()?;
    }
    let certificate = builder.sign(&keys.user_ca).ok()?;
    Some((key, certificate))
}

fn config(pinned: &[PublicKey]) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(super::SSH_ID)),
        window_size: super::WINDOW,
        channel_buffer_size: super::CHANNEL_QUEUE,
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 3,
        nodelay: true,
        preferred: Preferred {
            key: host_key_algorithms(pinned),
            ..super::algorithms::preferred()
        },
        ..client::Config::default()
    }
}

/// Only the kinds of key that are pinned are asked for.
fn host_key_algorithms(pinned: &[PublicKey]) -> Cow<'static, [Algorithm]> {
    let mut algorithms = Vec::new();
    for key in pinned {
        let algorithm = key.algorithm();
        if matches!(algorithm, Algorithm::Rsa { .. }) {
            algorithms.push(Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            });
            algorithms.push(Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            });
        } else {
            algorithms.push(algorithm);
        }
    }
    Cow::Owned(algorithms)
}

/// Accepts the pinned keys and no other; there is no trust on first use.
struct Pinned {
    keys: Vec<PublicKey>,
    mismatch: Arc<AtomicBool>,
    opened: Arc<AtomicU32>,
}

impl Pinned {
    /// No target opens anything towards the bastion; one that insists is left.
    async fn reject(&self, reply: client::ChannelOpenHandle) -> Result<(), russh::Error> {
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        if self.opened.fetch_add(1, Ordering::Relaxed) >= MOST_OPENED {
            return Err(russh::Error::Disconnect);
        }
        Ok(())
    }
}

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let known = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self
                .keys
                .iter()
                .any(|pinned| pinned.key_data() == key.key_data()),
            PublicKeyOrCertificate::Certificate(_) => false,
        };
        self.mismatch.store(!known, Ordering::Relaxed);
        Ok(known)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.reject(reply).await
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.reject(reply).await
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<client::Msg>,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.reject(reply).await
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.reject(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.reject(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.reject(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.reject(reply).await
    }
}
