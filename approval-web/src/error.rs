//! What can go wrong, by meaning. A [`Problem`] travels in the response; `guard` turns it into a
//! page, or into JSON for the pages' script, in the reader's language. The cause goes to the log.

use access::{Refusal, Time};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use store::StoreError;

/// Why a request was not answered as asked.
#[derive(Clone, Debug)]
pub(crate) enum Problem {
    /// Nobody is signed in, or no longer.
    SignIn,
    /// The passkey was given too long ago for this.
    Fresh,
    /// Signed in, but this page is for others.
    Forbidden,
    /// There is nothing here, or nothing of this customer's.
    NotFound,
    /// A form of another site.
    CrossSite,
    /// The trade says no, with a sentence.
    Refused(Refusal),
    /// A passkey ceremony that did not verify, expired or was used.
    Passkey,
    /// An invitation that is used, expired or none.
    Invitation,
    /// Too many failures; not before then.
    Locked(Time),
    /// Too many requests from this address.
    TooOften,
    /// A form that cannot be read; names the field.
    Form(&'static str),
    /// Somebody else changed it meanwhile.
    Stale,
    /// The database does not answer.
    Unavailable,
    /// More than a form may carry.
    TooLarge,
    /// Took too long.
    Slow,
    /// A kind of request that is not answered here.
    Method,
    /// Our fault.
    Broken,
}

impl Problem {
    /// Our fault, with the cause for the log.
    pub(crate) fn broken(cause: &(impl std::fmt::Display + ?Sized)) -> Self {
        tracing::error!("a request failed: {cause}");
        Self::Broken
    }

    /// What these pages refuse by a rule of their own, as the domain would say it.
    pub(crate) fn refused(code: &'static str, sentence: &str) -> Self {
        Self::Refused(Refusal {
            code,
            sentence: sentence.to_owned(),
        })
    }

    /// A ceremony that did not verify, with the cause for the log.
    pub(crate) fn not_verified(cause: &(impl std::fmt::Display + ?Sized)) -> Self {
        tracing::info!("a passkey was not verified: {cause}");
        Self::Passkey
    }

    /// Under which its texts are found.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Fresh => "fresh",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::CrossSite => "cross-site",
            Self::Refused(_) => "refused",
            Self::Passkey => "passkey",
            Self::Invitation => "invitation",
            Self::Locked(_) => "locked",
            Self::TooOften => "too-often",
            Self::Form(_) => "form",
            Self::Stale => "stale",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too-large",
            Self::Slow => "slow",
            Self::Method => "method",
            Self::Broken => "broken",
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::Fresh | Self::Forbidden | Self::CrossSite | Self::Passkey => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Refused(_) | Self::Stale => StatusCode::CONFLICT,
            Self::Invitation => StatusCode::GONE,
            Self::Locked(_) | Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::Form(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::GATEWAY_TIMEOUT,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The problem that a bare status of the framework stands for.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        Some(match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::Method,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => Self::Slow,
            status if status.is_client_error() => Self::Form(""),
            _ => Self::Broken,
        })
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        if refusal.code == "another_customer" {
            Self::NotFound
        } else {
            Self::Refused(refusal)
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stale { .. } => Self::Stale,
            StoreError::NotFound { .. } => Self::NotFound,
            StoreError::Unavailable(cause) => {
                tracing::error!("the database did not answer: {cause}");
                Self::Unavailable
            }
            StoreError::Conflict { .. } | StoreError::Impossible { .. } => Self::broken(&error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
