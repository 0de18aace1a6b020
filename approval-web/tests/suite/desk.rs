//! The world of the tests: people, systems, both origins, and browsers that hold a passkey.

pub(crate) mod browser;
pub(crate) mod device;

use access::actor::ActorKind;
use access::contact::{ContactDetails, ContactKind, Language};
use access::decide::Policy;
use access::grant::{Basis, Operation, ReviewEvery, Scope, Terms};
use access::operator::{Network, OperatorDetails, Role};
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::second_factor::{Holder, Proof};
use access::target::{HealthData, TargetDetails, Tenancy};
use access::time::Window;
use access::{
    AccountName, Actor, ActorId, Changed, Contact, ContactId, Customer, CustomerId, Event, Grant,
    GrantId, Intervention, InterventionId, Operator, OperatorId, Refusal, Target, TargetId, Time,
    Who,
};
use approval_web::Web;
use axum::Router;
use browser::Browser;
use recordings::keys::{RecordingKeyPair, wrap_private_key};
use recordings::{ManifestSigner, Storage};
use ring::rand::{SecureRandom, SystemRandom};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{EntryFilter, Kept, Store};
use zeroize::Zeroizing;

/// 2026-11-24T09:00:00Z, when a test begins.
pub(crate) const NOW: Time = Time::from_micros(1_795_510_800_000_000);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) const CUSTOMER_URL: &str = "http://localhost:8080";
pub(crate) const HOST_URL: &str = "http://localhost:8081";

thread_local! {
    static CLOCK: Cell<i64> = const { Cell::new(0) };
}

/// The time it is in this test.
pub(crate) fn now() -> Time {
    Time::from_micros(CLOCK.get())
}

/// Lets time pass.
pub(crate) fn forward(by: Duration) {
    CLOCK.set(now().plus(by).micros());
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), ring::error::Unspecified> {
    SystemRandom::new().fill(bytes)
}

pub(crate) fn fresh<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    random(&mut bytes).unwrap();
    bytes
}

/// Everything a test stands on.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) web: Arc<Web>,
    pub(crate) customer: Router,
    pub(crate) host: Router,
    pub(crate) signer: ManifestSigner,
    _folder: tempfile::TempDir,
}

impl Desk {
    /// The world at [`NOW`]: two customers, their contacts, the host's people, one system and
    /// `alice`'s right on it.
    pub(crate) async fn open() -> Self {
        CLOCK.set(NOW.micros());
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/bastion.db", folder.path().display());
        let store = Store::open(&url).await.unwrap();
        let (signer, _) = ManifestSigner::generate(&SystemRandom::new()).unwrap();
        let web = Arc::new(Web {
            store: store.clone(),
            recordings: Storage::open(folder.path().join("recordings")).unwrap(),
            customer_url: CUSTOMER_URL.into(),
            host_url: HOST_URL.into(),
            ssh_name: "bastion.example".into(),
            ssh_port: 2222,
            trusted_proxies: vec![Network::parse("10.0.0.7").unwrap()],
            policy: policy(),
            factors: access::sealed::SealingKey::new(&[7; 32]).unwrap(),
            recording_master: Zeroizing::new([9; 32]),
            manifest_key: signer.public_key(),
            clock: now,
            random,
        });
        let desk = Self {
            customer: approval_web::customer(web.clone()).unwrap(),
            host: approval_web::host(web.clone()).unwrap(),
            store,
            web,
            signer,
            _folder: folder,
        };
        desk.populate().await;
        desk
    }

    async fn populate(&self) {
        for (id, name) in [
            ("chu-exemple", "Centre hospitalier d'Exemple"),
            ("clinique-voisine", "Clinique Voisine"),
        ] {
            self.add_customer(id, name).await;
        }
        for (id, customer, kind) in [
            ("claire", "chu-exemple", ContactKind::Approver),
            ("paul", "chu-exemple", ContactKind::Incident),
            ("victor", "clinique-voisine", ContactKind::Approver),
        ] {
            self.save(contact(id, customer, kind)).await;
        }
        let actor = Actor::register(
            ActorId::parse("infogerance").unwrap(),
            "Infogérance d'Exemple",
            ActorKind::Host,
            by(),
            NOW,
        );
        self.save(actor).await;
        for (id, role) in [
            ("alice", Role::Operator),
            ("olga", Role::Operator),
            ("bob", Role::Manager),
            ("mia", Role::Manager),
            ("sam", Role::Security),
            ("ada", Role::Auditor),
            ("adam", Role::Admin),
        ] {
            self.save(operator(id, role)).await;
        }
        for (id, customer) in [
            ("db1.chu-exemple", "chu-exemple"),
            ("web1.clinique-voisine", "clinique-voisine"),
        ] {
            self.save(target(id, customer)).await;
        }
        let proposed = Grant::propose(
            GrantId::from_random([7; 16]),
            terms("alice"),
            Who::Operator(operator_id("mia")),
            NOW.minus(101 * DAY),
        );
        let grant = self.save(proposed).await;
        let bob = self.operator("bob").await;
        self.save(grant.approve(&bob, NOW.minus(100 * DAY))).await;
    }

    async fn add_customer(&self, id: &str, name: &str) {
        let id = customer_id(id);
        let keys = RecordingKeyPair::generate(&SystemRandom::new()).unwrap();
        let public = keys.public.to_base64();
        self.save(Customer::register(id.clone(), name, &public, by(), NOW))
            .await;
        let wrapped = wrap_private_key(
            &self.web.recording_master,
            &keys.private,
            id.as_str().as_bytes(),
        )
        .unwrap();
        let event = Event::new("recording_key.kept", by(), format!("customer {id}"), NOW);
        self.store
            .keep_recording_key(&id, &wrapped, event)
            .await
            .unwrap();
    }

    pub(crate) async fn save<T: Kept>(&self, changed: Result<Changed<T>, Refusal>) -> T {
        self.store.save(changed.unwrap()).await.unwrap()
    }

    pub(crate) async fn operator(&self, id: &str) -> Operator {
        let found = self.store.operator(&operator_id(id)).await.unwrap();
        found.unwrap()
    }

    pub(crate) async fn contact(&self, id: &str) -> Contact {
        let found = self.store.contact(&contact_id(id)).await.unwrap();
        found.unwrap()
    }

    pub(crate) async fn intervention(&self, id: &InterventionId) -> Intervention {
        self.store.intervention(id).await.unwrap().unwrap()
    }

    /// An intervention of `alice`'s that waits for the customer.
    pub(crate) async fn submitted(&self) -> Intervention {
        let id = self.store.next_intervention_id(now()).await.unwrap();
        let alice = self.operator("alice").await;
        let customer = customer_id("chu-exemple");
        let draft = Intervention::draft(id, customer, plan_text(), &alice, now());
        let draft = self.save(draft).await;
        self.save(draft.submit(&alice, now())).await
    }

    /// The invitation of a contact, or of a person of the host.
    pub(crate) async fn invite(&self, login: &str) -> String {
        let (holder, url) = match ContactId::parse(login) {
            Ok(id) if self.store.contact(&id).await.unwrap().is_some() => {
                (Holder::Contact(id), CUSTOMER_URL)
            }
            _ => (Holder::Operator(operator_id(login)), HOST_URL),
        };
        let token = fresh();
        approval_web::invite(&self.store, url, holder, by(), DAY, token, now())
            .await
            .unwrap()
    }

    /// A browser on the origin where `login` belongs, with nothing in it.
    pub(crate) async fn browser_of(&self, login: &str) -> Browser {
        let contact = match ContactId::parse(login) {
            Ok(id) => self.store.contact(&id).await.unwrap().is_some(),
            Err(_) => false,
        };
        if contact {
            Browser::new(&self.customer, CUSTOMER_URL)
        } else {
            Browser::new(&self.host, HOST_URL)
        }
    }

    /// A browser in which `login` was just invited and has signed in.
    pub(crate) async fn signed_in(&self, login: &str) -> Browser {
        let mut browser = self.browser_of(login).await;
        let invitation = self.invite(login).await;
        let reply = browser.enrol(&invitation).await;
        assert_eq!(reply.status, 204, "{}", reply.body);
        browser
    }

    /// The names of all events, oldest first.
    pub(crate) async fn events(&self) -> Vec<String> {
        let entries = self.store.entries(0, 10_000).await.unwrap();
        entries
            .iter()
            .map(|entry| {
                let value: serde_json::Value = serde_json::from_str(&entry.text).unwrap();
                value["event"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    /// The newest entry with this name.
    pub(crate) async fn newest(&self, name: &str) -> serde_json::Value {
        let filter = EntryFilter {
            name_prefix: Some(name),
            limit: 1,
            ..EntryFilter::default()
        };
        let found = self.store.entries_about(filter).await.unwrap();
        serde_json::from_str(&found.first().expect(name).text).unwrap()
    }
}

pub(crate) fn by() -> Who {
    Who::CommandLine("root".into())
}

pub(crate) fn customer_id(id: &str) -> CustomerId {
    CustomerId::parse(id).unwrap()
}

pub(crate) fn contact_id(id: &str) -> ContactId {
    ContactId::parse(id).unwrap()
}

pub(crate) fn operator_id(id: &str) -> OperatorId {
    OperatorId::parse(id).unwrap()
}

pub(crate) fn target_id(id: &str) -> TargetId {
    TargetId::parse(id).unwrap()
}

pub(crate) fn contact(
    id: &str,
    customer: &str,
    kind: ContactKind,
) -> Result<Changed<Contact>, Refusal> {
    let details = ContactDetails {
        name: format!("{id} of {customer}"),
        email: format!("{id}@{customer}.example"),
        kinds: BTreeSet::from([kind]),
        language: Language::French,
        deputy: None,
    };
    Contact::register(contact_id(id), customer_id(customer), details, by(), NOW)
}

pub(crate) fn operator(id: &str, role: Role) -> Result<Changed<Operator>, Refusal> {
    let details = OperatorDetails {
        name: format!("{id} of the host"),
        email: format!("{id}@host.example"),
        actor: ActorId::parse("infogerance").unwrap(),
        roles: BTreeSet::from([role]),
        keys: vec!["ssh-ed25519 AAAA".into()],
        sources: Vec::new(),
        language: Language::French,
    };
    Operator::register(operator_id(id), details, by(), NOW)
}

fn target(id: &str, customer: &str) -> Result<Changed<Target>, Refusal> {
    let details = TargetDetails {
        customer: customer_id(customer),
        address: "192.0.2.10:22".into(),
        host_keys: Vec::new(),
        accounts: BTreeSet::from([AccountName::parse("root").unwrap()]),
        tenancy: Tenancy::Dedicated,
        health_data: HealthData::Holds,
    };
    Target::register(target_id(id), details, by(), NOW)
}

pub(crate) fn terms(operator: &str) -> Terms {
    Terms {
        operator: operator_id(operator),
        customer: customer_id("chu-exemple"),
        scope: Scope {
            targets: BTreeSet::from([target_id("db1.chu-exemple")]),
            accounts: BTreeSet::from([AccountName::parse("root").unwrap()]),
            operations: BTreeSet::from([Operation::Shell, Operation::Exec]),
        },
        justification: "on call for the databases".into(),
        basis: Basis::Contract,
        validity: Window::new(NOW.minus(100 * DAY), NOW.plus(300 * DAY)).unwrap(),
        review_every: ReviewEvery::Year,
    }
}

/// A plan whose window opens in one hour, for three hours.
pub(crate) fn plan_text() -> PlanText {
    PlanText {
        purpose: "replace the disk of the archive".into(),
        nature: "hardware".into(),
        impact: "none is expected".into(),
        rollback: "put the old disk back".into(),
        health_data: HealthDataSeen::Possible,
        origin: Origin::Host,
        accountable: Some("Dr Martin".into()),
        reference: Some("CHG-7".into()),
        operators: BTreeSet::from([operator_id("alice")]),
        targets: BTreeSet::from([target_id("db1.chu-exemple")]),
        accounts: BTreeSet::from([AccountName::parse("root").unwrap()]),
        operations: BTreeSet::from([Operation::Shell, Operation::Exec]),
        forwards: BTreeSet::new(),
        window: Window::new(now().plus(HOUR), now().plus(4 * HOUR)).unwrap(),
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        charter: None,
        countries: None,
        weakest_proof: Proof::Totp,
        session_limit: 8 * HOUR,
        ssh_name: "bastion.example".into(),
        host_web: HOST_URL.into(),
    }
}
