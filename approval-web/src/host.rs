//! The pages of the host's people, one file per noun.

pub(crate) mod audit;
pub(crate) mod charter;
pub(crate) mod commands;
pub(crate) mod confirm;
pub(crate) mod factors;
pub(crate) mod grant;
pub(crate) mod home;
pub(crate) mod interventions;
pub(crate) mod plan_form;
pub(crate) mod proposal;
pub(crate) mod replay;
pub(crate) mod session;
pub(crate) mod verdict;

use crate::error::Problem;
use store::StoreError;

/// What an identifier of an address stands for; a text that is none stands for nothing.
async fn load<I, T, E>(
    id: Result<I, E>,
    find: impl AsyncFnOnce(I) -> Result<Option<T>, StoreError>,
) -> Result<T, Problem> {
    let id = id.map_err(|_| Problem::NotFound)?;
    find(id).await?.ok_or(Problem::NotFound)
}

/// A filter's field; empty filters nothing.
fn blank<T, E>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
    field: &'static str,
) -> Result<Option<T>, Problem> {
    match text.trim() {
        "" => Ok(None),
        text => parse(text).map(Some).map_err(|_| Problem::Form(field)),
    }
}
