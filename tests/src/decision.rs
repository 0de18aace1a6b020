//! A contact's decision, as another bastion's pages would write it: by a passkey that is none.

use crate::time;
use access::approval::{Assertion, Decision, Statement};
use access::contact::ContactKind;
use access::intervention::Signed;
use access::{Changed, Intervention};
use store::Store;

/// An approver of the customer's decides on what waits; to be saved.
pub async fn decided(
    store: &Store,
    one: Intervention,
    decision: Decision,
) -> Changed<Intervention> {
    let contacts = store.contacts().await.unwrap();
    let contact = contacts
        .into_iter()
        .find(|contact| contact.details.kinds.contains(&ContactKind::Approver))
        .unwrap();
    let people = store.operators().await.unwrap();
    let signed = Signed {
        statement: Statement::compose(&one, &decision, &contact.id, "bm9uY2U"),
        nonce: "bm9uY2U".to_owned(),
        assertion: Assertion {
            credential_id: "Y3JlZA".to_owned(),
            client_data_json: "e30".to_owned(),
            authenticator_data: "AA".to_owned(),
            signature: "c2ln".to_owned(),
            public_key: "{}".to_owned(),
        },
    };
    one.decide(&contact, &people, decision, signed, time())
        .unwrap()
}
