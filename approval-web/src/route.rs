//! A route and for whom it is. There is no route without an audience: the tables in `lib.rs` are
//! all there is, and `guard` lets nobody else in.

use crate::guard;
use crate::site::Site;
use access::operator::Role;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};
use std::sync::Arc;

/// For whom a route is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Everybody: what it takes to sign in.
    Anyone,
    /// The contacts of a customer, each for his own customer.
    Contacts,
    /// People of the host who hold one of these roles.
    Host(&'static [Role]),
}

/// One line of an origin's table.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub audience: Audience,
    handler: MethodRouter<Arc<Site>>,
}

/// A page.
pub(crate) fn get<H, T>(path: &'static str, audience: Audience, handler: H) -> Route
where
    H: Handler<T, Arc<Site>>,
    T: 'static,
{
    Route {
        method: Method::GET,
        path,
        audience,
        handler: on(MethodFilter::GET, handler),
    }
}

/// A form, or a call of the pages' script.
pub(crate) fn post<H, T>(path: &'static str, audience: Audience, handler: H) -> Route
where
    H: Handler<T, Arc<Site>>,
    T: 'static,
{
    Route {
        method: Method::POST,
        path,
        audience,
        handler: on(MethodFilter::POST, handler),
    }
}

/// The router of an origin, every route behind its audience and all of them behind the guard.
pub(crate) fn build(site: Arc<Site>, table: Vec<Route>) -> Router {
    let mut router = Router::new();
    for route in table {
        let door = (site.clone(), route.audience);
        let handler = route
            .handler
            .route_layer(middleware::from_fn_with_state(door, guard::admit));
        router = router.route(route.path, handler);
    }
    guard::protect(router, &site).with_state(site)
}
