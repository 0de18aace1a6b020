//! Who has access to us: the named rights, why, last used, reviewed when and by whom.

use crate::customer::scope;
use crate::error::Problem;
use crate::language::Words;
use crate::page::{self, Frame};
use crate::sign_in::AsContact;
use crate::site::Site;
use crate::vocabulary::{Badge, People, list};
use ::access::actor::Actor;
use ::access::grant::Standing;
use ::access::{Grant, Time};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use store::GrantUse;

const SHOWN: i64 = 200;

#[derive(Template)]
#[template(path = "customer/access.html")]
struct AccessPage {
    f: Frame,
    current: Vec<Right>,
    past: Vec<Right>,
}

struct Right {
    who: String,
    actor: String,
    standing: Badge,
    targets: String,
    accounts: String,
    operations: String,
    justification: String,
    basis: String,
    until: String,
    review: Option<String>,
    review_due: Option<String>,
    used: String,
}

/// `GET /access`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    f: Frame,
    AsContact { contact, .. }: AsContact,
) -> Result<Response, Problem> {
    let grants = scope(&site, &contact).grants(SHOWN).await?;
    let mentioned = grants.iter().flat_map(|grant| {
        let reviewers = grant.reviews.iter().map(|review| &review.reviewer);
        reviewers.chain([&grant.terms.operator])
    });
    let people = People::look_up(site.store(), mentioned.cloned().collect()).await?;
    let now = site.now();
    let (mut current, mut past) = (Vec::new(), Vec::new());
    for grant in &grants {
        let actor = match people.get(&grant.terms.operator) {
            Some(operator) => site.store().actor(&operator.details.actor).await?,
            None => None,
        };
        let used = site.store().grant_use(&grant.id).await?;
        let right = Right::of(grant, actor, &used, f.words(), &people, now);
        match grant.standing(now) {
            Standing::InForce | Standing::NotStarted | Standing::ReviewOverdue => {
                current.push(right);
            }
            Standing::Expired | Standing::Withdrawn => past.push(right),
            // Not decided yet: nobody has access by it.
            Standing::Proposed => {}
        }
    }
    page::render(&AccessPage { f, current, past })
}

impl Right {
    fn of(
        grant: &Grant,
        actor: Option<Actor>,
        used: &GrantUse,
        words: Words,
        people: &People,
        now: Time,
    ) -> Self {
        let terms = &grant.terms;
        let actor = actor.map_or_else(String::new, |actor| {
            format!("{} ({})", actor.name, words.actor_kind(actor.kind))
        });
        Self {
            who: people.name(&terms.operator),
            actor,
            standing: words.standing(grant.standing(now)),
            targets: list(&terms.scope.targets),
            accounts: list(&terms.scope.accounts),
            operations: words.operations(&terms.scope.operations),
            justification: terms.justification.clone(),
            basis: words.basis(terms.basis),
            until: words.day(terms.validity.end()),
            review: grant.reviews.last().map(|review| {
                let values = [
                    ("decision", words.review(&review.decision)),
                    ("at", words.day(review.at)),
                    ("by", people.name(&review.reviewer)),
                ];
                words.fill("right-reviewed", &values)
            }),
            review_due: grant.review_due().map(|due| words.day(due)),
            used: match used.last_used {
                Some(last) => words.fill(
                    "right-used",
                    &[
                        ("sessions", used.sessions.to_string()),
                        ("last", words.day(last)),
                    ],
                ),
                None => words.t("right-never-used"),
            },
        }
    }
}
