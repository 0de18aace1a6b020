//! From whoever logged in to a session: the decision, the recording, the row, the target, in this
//! order.

use super::asked::{Question, Wish};
use super::ending::end_row;
use super::{Live, append, codes, utc};
use crate::ssh::login::{Destination, ProvenAt};
use crate::ssh::orphan::NOT_OPENED;
use crate::ssh::relay::Activity;
use crate::ssh::upstream::UpstreamError;
use crate::ssh::{Front, orphan, traces, upstream};
use crate::{clock, secrets};
use access::decide::{
    Arming, Capacity, Code, LoginAge, Means, Place, Recording, Supervision, choose,
};
use access::second_factor::Proof;
use access::session::FactorUse;
use access::{
    AccountName, Credentials, Denial, Event, OperatorId, Permit, Session, SessionId, Time, Who,
};
use recordings::{Micros, RecipientKey, Recorder, SessionHeader};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use store::{Ask, StoreError};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

/// A person whose key and second factor were proven on this connection.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) operator: OperatorId,
    pub(crate) credentials: Credentials,
    pub(crate) factor: FactorUse,
    pub(crate) source: IpAddr,
    /// When the second factor was proven, on this connection or the one it is reused from.
    pub(crate) at: ProvenAt,
}

impl Proven {
    /// Whether anything new may be opened with it now.
    pub(crate) fn age(&self, front: &Front) -> LoginAge {
        age(front, self.at)
    }
}

/// Now, for what is being proven.
pub(crate) fn proven_now() -> ProvenAt {
    ProvenAt {
        day: clock::now(),
        tick: clock::monotonic(),
    }
}

pub(super) fn age(front: &Front, proven_at: ProvenAt) -> LoginAge {
    let limit = Duration::from_secs(front.config.ssh.login_limit_s);
    proven_at.age(limit, proven_now())
}

/// Why a session was not opened; every one of these was traced already.
#[derive(Debug)]
pub(crate) enum NotOpened {
    Denied(Vec<Denial>),
    /// Several interventions fit and none was named.
    Several(Vec<Permit>),
    Target(UpstreamError),
    /// Something of the bastion's own does not work; a sentence and a next step.
    Unavailable(&'static str),
}

impl NotOpened {
    /// The first code, and sentence and next step on one line.
    pub(crate) fn in_short(&self) -> (&'static str, String) {
        match self {
            Self::Denied(denials) => denials.first().map_or_else(
                || ("unavailable", "nothing can be decided now".to_owned()),
                |first| {
                    let said = format!("{}; {}", first.sentence, first.next);
                    (first.code.as_str(), said)
                },
            ),
            Self::Several(_) => ("intervention_not_named", "name one".to_owned()),
            Self::Target(error) => (error.code(), error.to_string()),
            Self::Unavailable(sentence) => ("unavailable", (*sentence).to_owned()),
        }
    }
}

/// Decides, records, opens. The order is an invariant. It is opened under a permit for any of the
/// operations of `wish`, in their order.
pub(crate) async fn open(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    wish: &Wish<'_>,
    motive: &str,
) -> Result<Arc<Live>, NotOpened> {
    if front.traces.is_stuck(clock::monotonic()) {
        let stuck = NotOpened::Unavailable(traces::STUCK);
        trace_refusal(front, proven, destination, wish, &stuck).await;
        return Err(stuck);
    }
    let now = clock::now();
    let permit = match permit_for_any(front, proven, destination, wish, now).await {
        Ok(permit) => permit,
        Err(not_opened) => {
            trace_refusal(front, proven, destination, wish, &not_opened).await;
            return Err(not_opened);
        }
    };
    let opened = open_with(front, proven, permit, motive, now).await;
    if let Err(not_opened) = &opened {
        trace_refusal(front, proven, destination, wish, not_opened).await;
    }
    opened
}

async fn permit_for_any(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    wish: &Wish<'_>,
    now: Time,
) -> Result<Permit, NotOpened> {
    let mut denied = Err(NotOpened::Denied(Vec::new()));
    for operation in wish.operations {
        let question = (Some(*operation), wish.forward_to.cloned());
        let means = means(front, proven.age(front));
        match permit_for(front, proven, destination, question, means, now).await {
            Err(NotOpened::Denied(denials)) => denied = Err(NotOpened::Denied(denials)),
            decided => return decided,
        }
    }
    denied
}

fn ask<'a>(
    front: &Front,
    proven: &'a Proven,
    destination: &'a Destination,
    (operation, forward_to): Question,
    means: Means,
) -> Ask<'a> {
    Ask {
        operator: proven.operator.as_str(),
        target: &destination.target,
        account: destination.account.clone(),
        operation,
        forward_to,
        intervention: destination.intervention.clone(),
        credentials: Some(proven.credentials.clone()),
        place: Place {
            source: proven.source,
            country: None,
        },
        means,
        policy: front.config.policy(),
        since: None,
    }
}

/// Whether whoever logged in may still be here, whatever he wants to do.
pub(crate) async fn may_stay(front: &Front, proven: &Proven) -> Result<(), NotOpened> {
    let now = clock::now();
    // No target has an empty name, and so none of its accounts is looked at.
    let Ok(account) = AccountName::parse("nobody") else {
        return Err(NotOpened::Denied(Vec::new()));
    };
    let nowhere = Destination {
        account,
        target: String::new(),
        intervention: None,
    };
    let means = means(front, proven.age(front));
    let facts = front
        .store
        .facts(&ask(front, proven, &nowhere, (None, None), means), now)
        .await
        .map_err(|error| store_failed(&error))?;
    match facts.first() {
        Some(facts) => access::decide::may_stay(facts, now).map_err(NotOpened::Denied),
        None => Err(NotOpened::Denied(Vec::new())),
    }
}

async fn permit_for(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    question: Question,
    means: Means,
    now: Time,
) -> Result<Permit, NotOpened> {
    let ask = ask(front, proven, destination, question, means);
    let candidates = front
        .store
        .facts(&ask, now)
        .await
        .map_err(|error| store_failed(&error))?;
    let mut permits = choose(&candidates, now).map_err(NotOpened::Denied)?;
    // Of several grants under one intervention, the one that reaches furthest.
    permits.sort_by_key(|permit| std::cmp::Reverse(permit.ends_at()));
    let mut distinct: Vec<Permit> = Vec::new();
    for permit in permits {
        if distinct
            .iter()
            .all(|known| known.intervention() != permit.intervention())
        {
            distinct.push(permit);
        }
    }
    match distinct.len() {
        0 | 1 => distinct.pop().ok_or_else(|| NotOpened::Denied(Vec::new())),
        _ => Err(NotOpened::Several(distinct)),
    }
}

async fn open_with(
    front: &Front,
    proven: &Proven,
    permit: Permit,
    motive: &str,
    now: Time,
) -> Result<Arc<Live>, NotOpened> {
    let unavailable =
        |_| NotOpened::Unavailable("the session could not be prepared; tell an administrator");
    let id = SessionId::from_random(secrets::random::<16>().map_err(unavailable)?);
    let changed = Session::open(id.clone(), &permit, motive, proven.factor, now).map_err(|_| {
        NotOpened::Unavailable("the motive is too short or too long; give another one")
    })?;

    let recorder = match begin_recording(front, changed.value(), now).await {
        Ok(recorder) => recorder,
        Err(reason) => {
            warn!(session.id = %id, reason, "a recording could not begin");
            return Err(NotOpened::Denied(vec![recording_unavailable()]));
        }
    };
    let started = clock::monotonic();
    let session = match front.store.save(changed).await {
        Ok(session) => session,
        Err(error) => {
            let ended = recorder.finish(Micros(0), NOT_OPENED, utc(now), &front.keys.manifest);
            match ended.await {
                Ok(manifest) => orphan::settle_later(front.store.clone(), manifest),
                Err(error) => {
                    warn!(session.id = %id, %error, "a recording without a session could not be closed");
                }
            }
            return Err(store_failed(&error));
        }
    };
    match upstream::connect(permit, &id, &front.keys).await {
        Ok(upstream) => {
            let live = Arc::new(Live {
                id,
                recorder,
                upstream,
                row: Mutex::new(session),
                proven_at: proven.at,
                started,
                activity: Activity::default(),
                channels: Mutex::default(),
                next_channel: AtomicU32::new(0),
                running: watch::Sender::new(0),
                cut: OnceLock::new(),
                over: Notify::new(),
                agreed: AtomicI64::new(clock::monotonic()),
                warned: AtomicI64::new(i64::MAX),
                known: Mutex::default(),
                ending: AtomicBool::new(false),
                noted: AtomicU64::new(0),
            });
            front.live.add(&live);
            info!(session.id = %live.id, "session opened");
            Ok(live)
        }
        Err(error) => {
            let at = Micros(clock::monotonic() - started);
            end_row(front, &recorder, session, at, error.code(), Who::Bastion).await;
            Err(NotOpened::Target(error))
        }
    }
}

async fn begin_recording(front: &Front, session: &Session, now: Time) -> Result<Recorder, String> {
    let customer = front
        .store
        .customer(&session.customer)
        .await
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("customer `{}` is not registered", session.customer))?;
    let actor = front
        .store
        .operator(&session.operator)
        .await
        .map_err(|error| error.to_string())?
        .map_or_else(String::new, |operator| operator.details.actor.to_string());
    let key =
        RecipientKey::from_base64(&customer.recording_key).map_err(|error| error.to_string())?;
    let mut factors = vec!["key".to_owned()];
    factors.push(match session.credentials.proof {
        Proof::Totp => "totp".to_owned(),
        Proof::Passkey => "passkey".to_owned(),
    });
    if session.factor_reused {
        factors.push("reused".to_owned());
    }
    let header = SessionHeader {
        session: recordings::SessionId::parse(session.id.as_str())
            .map_err(|error| error.to_string())?,
        operator: session.operator.to_string(),
        actor,
        customer: session.customer.to_string(),
        target: session.target.to_string(),
        account: session.account.to_string(),
        grant: session.grant.to_string(),
        intervention: session.intervention.to_string(),
        motive: session.motive.clone(),
        factors,
        source: session.source.to_string(),
        started_at: utc(now),
    };
    let limits = recordings::Limits {
        exec_bytes: front.config.ssh.exec_record_cap,
        ..recordings::Limits::default()
    };
    recordings::recorder::begin(&front.recordings, header, &[key], limits)
        .await
        .map_err(|error| error.to_string())
}

pub(super) fn means(front: &Front, login: LoginAge) -> Means {
    let full = front.live.count() >= front.config.ssh.max_sessions;
    let recording = if front.log_continues.load(Ordering::Relaxed) {
        Recording::Available
    } else {
        Recording::Unavailable
    };
    Means {
        recording,
        capacity: if full {
            Capacity::Reached
        } else {
            Capacity::Free
        },
        arming: Arming::NotAsked,
        supervision: Supervision::NotAsked,
        login,
    }
}

fn store_failed(error: &StoreError) -> NotOpened {
    warn!(%error, "the store did not answer");
    NotOpened::Unavailable("the bastion's database does not answer; nothing was opened, try again")
}

async fn trace_refusal(
    front: &Front,
    proven: &Proven,
    destination: &Destination,
    wish: &Wish<'_>,
    why: &NotOpened,
) {
    let event = Event::new(
        "session.refused",
        Who::Operator(proven.operator.clone()),
        format!("target {}", destination.target),
        clock::now(),
    )
    .with("account", &destination.account)
    .with("source", proven.source);
    let mut event = proven.credentials.named_in(event);
    if let Some(to) = wish.forward_to {
        event = event.with("forward_to", to.to_string());
    }
    let event = match why {
        NotOpened::Denied(denials) => event.with("codes", codes(denials)),
        NotOpened::Several(permits) => event.with("codes", ["intervention_not_named"]).with(
            "interventions",
            permits.iter().map(Permit::intervention).collect::<Vec<_>>(),
        ),
        NotOpened::Target(error) => event.with("codes", [error.code()]),
        NotOpened::Unavailable(sentence) => event
            .with("codes", ["unavailable"])
            .with("reason", sentence),
    };
    let event = match front
        .store
        .target(&match access::TargetId::parse(&destination.target) {
            Ok(id) => id,
            Err(_) => return append(front, event).await,
        })
        .await
    {
        Ok(Some(target)) => event.of_customer(&target.details.customer),
        Ok(None) | Err(_) => event,
    };
    append(front, event).await;
}

fn recording_unavailable() -> Denial {
    Denial {
        code: Code::RecordingUnavailable,
        sentence: "the session could not be recorded".to_owned(),
        next: "tell an administrator of the bastion".to_owned(),
    }
}
