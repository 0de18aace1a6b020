//! My work: what an operator needs to get on with it.

use crate::error::Problem;
use crate::page::{self, Frame};
use crate::sign_in::AsOperator;
use askama::Template;
use axum::response::Response;

#[derive(Template)]
#[template(path = "host/home.html")]
struct HomePage {
    f: Frame,
}

/// `GET /`
pub(crate) async fn page(f: Frame, _person: AsOperator) -> Result<Response, Problem> {
    page::render(&HomePage { f })
}
