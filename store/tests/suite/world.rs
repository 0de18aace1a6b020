//! A small host with two customers, on either engine; and ways around the store, for tests only.

use crate::postgres;
use access::actor::ActorKind;
use access::approval::{Assertion, Decision, Statement};
use access::contact::{ContactDetails, ContactKind, Language};
use access::decide::{
    Arming, Capacity, LoginAge, Means, Place, Policy, Recording, Supervision, choose,
};
use access::grant::{Basis, Operation, ReviewEvery, Scope, Terms};
use access::intervention::Signed;
use access::operator::{OperatorDetails, Role};
use access::plan::{HealthDataSeen, Origin, PlanText};
use access::second_factor::{Factor, Holder, Proof, SecondFactor};
use access::session::FactorUse;
use access::target::{HealthData, TargetDetails, Tenancy};
use access::time::Window;
use access::{
    AccountName, Actor, ActorId, Changed, Contact, ContactId, Credentials, Customer, CustomerId,
    Event, FactorId, Grant, GrantId, Intervention, InterventionId, Operator, OperatorId, Permit,
    Session, SessionId, Target, TargetId, Time, Who,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;
use store::{Ask, AuditSigner, Store};
use tempfile::TempDir;

/// Runs each test on both engines.
macro_rules! on_both {
    ($(async fn $name:ident($world:ident: $kind:ty) $body:block)+) => {
        $(
            mod $name {
                use super::*;

                async fn test($world: $kind) $body

                #[tokio::test(flavor = "multi_thread")]
                async fn sqlite() {
                    test($crate::world::World::sqlite().await).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn postgres() {
                    test($crate::world::World::postgres().await).await;
                }
            }
        )+
    };
}
pub(crate) use on_both;

/// A store with one host, two customers with a target each, and their people.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) url: String,
    /// Where the file is, on `SQLite`.
    pub(crate) directory: Option<TempDir>,
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/bastion.db", directory.path().display());
        Self::open(url, Some(directory)).await
    }

    pub(crate) async fn postgres() -> Self {
        let server = tokio::task::spawn_blocking(postgres::shared).await.unwrap();
        Self::open(server.database().await, None).await
    }

    pub(crate) async fn open(url: String, directory: Option<TempDir>) -> Self {
        let store = Store::open(&url).await.unwrap();
        let world = Self {
            store,
            url,
            directory,
        };
        world.populate().await;
        world
    }

    async fn populate(&self) {
        let store = &self.store;
        let host = ActorId::parse("host").unwrap();
        store
            .save(Actor::register(host, "The host", ActorKind::Host, admin(), now()).unwrap())
            .await
            .unwrap();
        for login in ["alice", "bob", "mona"] {
            store.save(register_operator(login)).await.unwrap();
        }
        for name in ["chu", "clinic"] {
            store.save(register_customer(name)).await.unwrap();
            store
                .save(register_contact(&format!("claire.{name}"), name))
                .await
                .unwrap();
            store
                .save(register_target(&format!("db1.{name}"), name))
                .await
                .unwrap();
        }
        for login in ["alice", "bob", "mona"] {
            store.save(enrol_generator(login)).await.unwrap();
        }
    }

    /// Another connection to the same database, which knows nothing of the store's rules.
    pub(crate) async fn around(&self) -> Around {
        if self.is_sqlite() {
            Around::Sqlite(SqliteConnection::connect(&self.url).await.unwrap())
        } else {
            Around::Postgres(PgConnection::connect(&self.url).await.unwrap())
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite")
    }

    pub(crate) async fn operator(&self, login: &str) -> Operator {
        let id = OperatorId::parse(login).unwrap();
        self.store.operator(&id).await.unwrap().unwrap()
    }

    pub(crate) async fn contact(&self, customer: &str) -> Contact {
        let id = ContactId::parse(&format!("claire.{customer}")).unwrap();
        self.store.contact(&id).await.unwrap().unwrap()
    }

    /// A right of `login` on `db1` of `customer`, in force.
    pub(crate) async fn grant(&self, login: &str, customer: &str, number: u8) -> Grant {
        let terms = terms(login, customer);
        let id = GrantId::from_random([number; 16]);
        let by = Who::Operator(OperatorId::parse("mona").unwrap());
        let proposed = Grant::propose(id, terms, by, now()).unwrap();
        let proposed = self.store.save(proposed).await.unwrap();
        let accepted = proposed.accept_in_setup(admin(), now()).unwrap();
        self.store.save(accepted).await.unwrap()
    }

    /// An intervention that `login` asked for, names himself in, and that waits for the customer.
    pub(crate) async fn submitted(&self, login: &str, customer: &str) -> Intervention {
        let id = self.store.next_intervention_id(now()).await.unwrap();
        let by = self.operator(login).await;
        let customer = customer_id(customer);
        let draft =
            Intervention::draft(id, customer.clone(), plan(&[login], &customer), &by, now());
        let draft = self.store.save(draft.unwrap()).await.unwrap();
        self.store
            .save(draft.submit(&by, now()).unwrap())
            .await
            .unwrap()
    }

    /// The same, approved and open.
    pub(crate) async fn approved(&self, login: &str, customer: &str) -> Intervention {
        let waiting = self.submitted(login, customer).await;
        self.approve(waiting).await
    }

    pub(crate) async fn approve(&self, waiting: Intervention) -> Intervention {
        let contact = self.contact(waiting.customer.as_str()).await;
        self.enrol(&contact).await;
        let people = self.store.people_of(&waiting).await.unwrap();
        let approved = approval(waiting, &contact, &people);
        self.store.save(approved).await.unwrap()
    }

    /// The contact's passkey, enrolled once.
    async fn enrol(&self, contact: &Contact) {
        let holder = Holder::Contact(contact.id.clone());
        if self.store.factors(&holder).await.unwrap().is_empty() {
            let enrolled = enrolment(holder, &passkey_key());
            self.store.save(enrolled).await.unwrap();
        }
    }

    /// A live session of `login` on `db1` of `customer`.
    pub(crate) async fn session(&self, login: &str, customer: &str, number: u8) -> Session {
        let target = format!("db1.{customer}");
        let facts = self.store.facts(&ask(login, &target), now()).await.unwrap();
        let permit = choose(&facts, now()).unwrap().remove(0);
        self.store
            .save(open_session(&permit, number))
            .await
            .unwrap()
    }
}

pub(crate) fn open_session(permit: &Permit, number: u8) -> Changed<Session> {
    let id = SessionId::from_random([number; 16]);
    Session::open(id, permit, "disk full", FactorUse::Fresh, now()).unwrap()
}

/// A passkey of this holder with this public key, as it is registered.
pub(crate) fn enrolment(holder: Holder, key: &[u8]) -> Changed<SecondFactor> {
    let (x, y) = key[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let credential = json!({"cred": {"cred": {"key": {"EC_EC2": {"x": x, "y": y}}}}});
    let by = holder.who();
    let factor = Factor::Passkey {
        credential_id: credential_of(&by),
        credential: credential.to_string(),
    };
    let id = FactorId::from_random(rand());
    SecondFactor::enrol(id, holder, factor, by, now())
}

fn credential_of(who: &Who) -> String {
    format!("credential of {who}")
}

/// The public key of everybody's passkey.
pub(crate) fn passkey_key() -> Vec<u8> {
    passkey().public_key().as_ref().to_vec()
}

fn passkey() -> &'static EcdsaKeyPair {
    static PASSKEY: OnceLock<EcdsaKeyPair> = OnceLock::new();
    PASSKEY.get_or_init(|| {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap()
    })
}

fn rand() -> [u8; 16] {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

/// What a passkey says to this challenge.
pub(crate) fn assertion(contact: &Contact, challenge: [u8; 32]) -> Assertion {
    let client = json!({
        "type": "webauthn.get",
        "challenge": URL_SAFE_NO_PAD.encode(challenge),
        "origin": "https://customer.example",
    })
    .to_string();
    // The hash of the relying party, then the flags (present, verified), then a counter.
    let data = [&[1; 32][..], &[5], &[0; 4]].concat();
    let signed = [&data[..], &access::audit::sha256(client.as_bytes())].concat();
    let signature = passkey().sign(&SystemRandom::new(), &signed).unwrap();
    let key = passkey_key();
    let (x, y) = key[1..].split_at(32);
    Assertion {
        credential_id: credential_of(&Who::Contact(contact.id.clone())),
        client_data_json: URL_SAFE_NO_PAD.encode(client),
        authenticator_data: URL_SAFE_NO_PAD.encode(data),
        signature: URL_SAFE_NO_PAD.encode(signature),
        public_key: json!({
            "1": 2, "3": -7, "-1": 1,
            "-2": URL_SAFE_NO_PAD.encode(x), "-3": URL_SAFE_NO_PAD.encode(y),
        })
        .to_string(),
    }
}

pub(crate) fn approval(
    waiting: Intervention,
    contact: &Contact,
    people: &[Operator],
) -> Changed<Intervention> {
    decision(waiting, contact, people, Decision::Approve)
}

/// The same for any decision on what waits.
pub(crate) fn decision(
    waiting: Intervention,
    contact: &Contact,
    people: &[Operator],
    decision: Decision,
) -> Changed<Intervention> {
    let statement = Statement::compose(&waiting, &decision, &contact.id, "00");
    let assertion = assertion(contact, statement.challenge());
    let signed = Signed {
        statement,
        nonce: "00".into(),
        assertion,
    };
    waiting
        .decide(contact, people, decision, signed, now())
        .unwrap()
}

/// A connection that goes around the store.
pub(crate) enum Around {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Around {
    /// Runs statements, and says what the database says to them.
    pub(crate) async fn run(&mut self, text: &str) -> Result<u64, sqlx::Error> {
        let text = AssertSqlSafe(text.to_owned());
        Ok(match self {
            Self::Sqlite(c) => c.execute(sqlx::raw_sql(text)).await?.rows_affected(),
            Self::Postgres(c) => c.execute(sqlx::raw_sql(text)).await?.rows_affected(),
        })
    }

    pub(crate) async fn number(&mut self, text: &str) -> i64 {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(c) => c.fetch_one(text).await.unwrap().get(0),
            Self::Postgres(c) => c.fetch_one(text).await.unwrap().get(0),
        }
    }

    /// Takes the database's own defences away, as somebody with its owner's password can.
    pub(crate) async fn disarm(&mut self) {
        let tables = [
            "history",
            "audit_entries",
            "audit_hashes",
            "audit_checkpoints",
        ];
        for table in tables {
            let text = match self {
                Self::Sqlite(_) => format!(
                    "DROP TRIGGER {table}_unchanged; DROP TRIGGER {table}_undeleted; \
                     DROP TRIGGER {table}_unreplaced"
                ),
                Self::Postgres(_) => format!("ALTER TABLE {table} DISABLE TRIGGER USER"),
            };
            self.run(&text).await.unwrap();
        }
        let head = match self {
            Self::Sqlite(_) => "DROP TRIGGER audit_head_grows; DROP TRIGGER audit_entries_in_order",
            Self::Postgres(_) => "ALTER TABLE audit_head DISABLE TRIGGER USER",
        };
        self.run(head).await.unwrap();
    }
}

/// 24 November 2026, nine o'clock UTC.
pub(crate) fn now() -> Time {
    Time::parse("2026-11-24T09:00:00Z").unwrap()
}

pub(crate) fn later(seconds: u64) -> Time {
    now().plus(Duration::from_secs(seconds))
}

pub(crate) fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

pub(crate) fn admin() -> Who {
    Who::CommandLine("root".into())
}

pub(crate) fn event(name: &str) -> Event {
    Event::new(name, admin(), "test", now())
}

pub(crate) fn customer_id(name: &str) -> CustomerId {
    CustomerId::parse(name).unwrap()
}

pub(crate) fn target_id(name: &str) -> TargetId {
    TargetId::parse(name).unwrap()
}

pub(crate) fn operator_id(login: &str) -> OperatorId {
    OperatorId::parse(login).unwrap()
}

pub(crate) fn number(sequence: i64) -> InterventionId {
    InterventionId::numbered(2026, sequence)
}

pub(crate) fn root() -> AccountName {
    AccountName::parse("root").unwrap()
}

pub(crate) fn signer() -> AuditSigner {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    AuditSigner::from_pkcs8(key.as_ref(), "bastion.example/audit").unwrap()
}

pub(crate) fn register_customer(name: &str) -> Changed<Customer> {
    Customer::register(
        customer_id(name),
        &format!("Customer {name}"),
        "AAAA",
        admin(),
        now(),
    )
    .unwrap()
}

pub(crate) fn register_contact(id: &str, customer: &str) -> Changed<Contact> {
    let details = ContactDetails {
        name: "Claire Martin".into(),
        email: format!("{id}@example.org"),
        kinds: BTreeSet::from([ContactKind::Approver]),
        language: Language::French,
        deputy: None,
    };
    let id = ContactId::parse(id).unwrap();
    Contact::register(id, customer_id(customer), details, admin(), now()).unwrap()
}

pub(crate) fn register_operator(login: &str) -> Changed<Operator> {
    let details = OperatorDetails {
        name: format!("Operator {login}"),
        email: format!("{login}@host.example"),
        actor: ActorId::parse("host").unwrap(),
        roles: BTreeSet::from([Role::Operator, Role::Manager]),
        keys: vec!["ssh-ed25519 AAAA".into()],
        sources: Vec::new(),
        language: Language::French,
    };
    Operator::register(operator_id(login), details, admin(), now()).unwrap()
}

/// What an operator of this world proves himself with.
pub(crate) fn credentials(login: &str) -> Credentials {
    Credentials {
        key: "SHA256:cJ6AyISHokEeHuTfufIqhhSS0gxHZRUMDHlKvXD4FHw".into(),
        factor: FactorId::parse(&format!("fa-{login}"))
            .unwrap_or_else(|_| FactorId::from_random([0; 16])),
        proof: Proof::Totp,
        certificate: None,
        certified: None,
    }
}

pub(crate) fn enrol_generator(login: &str) -> Changed<SecondFactor> {
    let factor = Factor::Totp {
        sealed_secret: "AAAA".into(),
    };
    let holder = Holder::Operator(operator_id(login));
    SecondFactor::enrol(credentials(login).factor, holder, factor, admin(), now())
}

pub(crate) fn register_target(name: &str, customer: &str) -> Changed<Target> {
    let details = TargetDetails {
        customer: customer_id(customer),
        address: "192.0.2.10:22".into(),
        host_keys: vec!["ssh-ed25519 AAAA".into()],
        accounts: BTreeSet::from([root()]),
        tenancy: Tenancy::Dedicated,
        health_data: HealthData::Holds,
    };
    Target::register(target_id(name), details, admin(), now()).unwrap()
}

pub(crate) fn terms(login: &str, customer: &str) -> Terms {
    Terms {
        operator: operator_id(login),
        customer: customer_id(customer),
        scope: Scope {
            targets: BTreeSet::from([target_id(&format!("db1.{customer}"))]),
            accounts: BTreeSet::from([root()]),
            operations: BTreeSet::from([Operation::Shell, Operation::Exec]),
        },
        justification: "keeps the databases running".into(),
        basis: Basis::Contract,
        validity: Window::new(now().minus(hours(24)), now().plus(hours(24 * 700))).unwrap(),
        review_every: ReviewEvery::Year,
    }
}

pub(crate) fn plan(operators: &[&str], customer: &CustomerId) -> PlanText {
    PlanText {
        purpose: "replace the failed disk".into(),
        nature: "maintenance".into(),
        impact: "none expected".into(),
        rollback: "put the old disk back".into(),
        health_data: HealthDataSeen::No,
        origin: Origin::Host,
        accountable: None,
        reference: None,
        operators: operators.iter().map(|login| operator_id(login)).collect(),
        targets: BTreeSet::from([target_id(&format!("db1.{customer}"))]),
        accounts: BTreeSet::from([root()]),
        operations: BTreeSet::from([Operation::Shell]),
        forwards: BTreeSet::new(),
        window: Window::new(now().minus(hours(1)), now().plus(hours(2))).unwrap(),
    }
}

pub(crate) const MEANS: Means = Means {
    recording: Recording::Available,
    capacity: Capacity::Free,
    arming: Arming::NotAsked,
    supervision: Supervision::NotAsked,
    login: LoginAge::Young,
};

pub(crate) fn policy() -> Policy {
    Policy {
        charter: None,
        countries: None,
        weakest_proof: Proof::Totp,
        session_limit: hours(8),
        ssh_name: "bastion.example".into(),
        host_web: "https://bastion.example".into(),
    }
}

pub(crate) fn ask<'a>(operator: &'a str, target: &'a str) -> Ask<'a> {
    Ask {
        operator,
        target,
        account: root(),
        operation: Some(Operation::Shell),
        forward_to: None,
        intervention: None,
        credentials: Some(credentials(operator)),
        place: Place {
            source: "192.0.2.1".parse().unwrap(),
            country: None,
        },
        means: MEANS,
        policy: policy(),
        since: None,
    }
}
