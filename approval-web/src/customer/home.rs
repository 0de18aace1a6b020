//! What waits for me, what is happening now on our systems, what happened lately.

use crate::customer::intervention::deadline;
use crate::customer::scope;
use crate::error::Problem;
use crate::language::Words;
use crate::page::{self, Frame};
use crate::sign_in::AsContact;
use crate::site::Site;
use crate::vocabulary::{Badge, People, list};
use ::access::intervention::Phase;
use ::access::session::SessionState;
use ::access::{Intervention, Session, Time};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

const LATELY: usize = 12;
const LOOKED_AT: i64 = 200;

#[derive(Template)]
#[template(path = "customer/home.html")]
struct HomePage {
    f: Frame,
    customer: String,
    waiting: Vec<Card>,
    running: Vec<Card>,
    lately: Vec<Card>,
}

/// One intervention in a list.
struct Card {
    number: String,
    purpose: String,
    phase: Badge,
    who: String,
    systems: String,
    when: String,
    /// More time that somebody asks for.
    more: Option<String>,
    deadline: Option<String>,
    health: Badge,
    live: usize,
}

/// `GET /`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsContact { contact, .. }: AsContact,
) -> Result<Response, Problem> {
    let scope = scope(&site, &contact);
    let now = site.now();
    let all = scope.interventions(&[], LOOKED_AT).await?;
    let live: Vec<Session> = scope
        .sessions(LOOKED_AT)
        .await?
        .into_iter()
        .filter(|session| matches!(session.state, SessionState::Live))
        .collect();
    let mentioned = all.iter().flat_map(|one| &one.plan().text.operators);
    let people = People::look_up(site.store(), mentioned.cloned().collect()).await?;
    let customer = scope
        .customer()
        .await?
        .map_or_else(|| contact.customer.to_string(), |customer| customer.name);
    let mut page = HomePage {
        customer,
        waiting: Vec::new(),
        running: Vec::new(),
        lately: Vec::new(),
        f,
    };
    for one in all {
        let card = Card::of(&one, page.f.words(), &people, &live, now);
        match one.phase(now) {
            Phase::Submitted => page.waiting.push(card),
            // A question waits for the host's answer, not for the contact.
            Phase::InfoRequested | Phase::Approved | Phase::Open => {
                if one.waiting_extension(now).is_some() {
                    let words = page.f.words();
                    page.waiting
                        .push(Card::of(&one, words, &people, &live, now));
                }
                page.running.push(card);
            }
            Phase::Draft
            | Phase::Over
            | Phase::Refused
            | Phase::Withdrawn
            | Phase::Expired
            | Phase::Revoked
            | Phase::Closed => page.lately.push(card),
        }
    }
    page.lately.truncate(LATELY);
    page::render(&page)
}

impl Card {
    fn of(one: &Intervention, words: Words, people: &People, live: &[Session], now: Time) -> Self {
        let plan = &one.plan().text;
        Self {
            number: one.id.to_string(),
            purpose: plan.purpose.clone(),
            phase: words.phase(one.phase(now)),
            who: people.names(&plan.operators),
            systems: list(&plan.targets),
            when: words.window(plan.window),
            more: one.waiting_extension(now).map(|waiting| {
                let until = words.time(waiting.text.window.end());
                words.with("home-extension-until", "until", until)
            }),
            deadline: deadline(one).map(|until| words.span(now, until)),
            health: words.health_data(plan.health_data),
            live: live.iter().filter(|s| s.intervention == one.id).count(),
        }
    }
}
