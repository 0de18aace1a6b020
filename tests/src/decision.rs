//! A contact's decision, as another bastion's pages would write it: by a passkey that is none.

use access::approval::{Assertion, Decision, Statement};
use access::contact::ContactKind;
use access::intervention::Signed;
use access::plan::PlanText;
use access::{Changed, Intervention, Operator, Time};
use store::Store;

/// An approver of the customer's decides on what waits; to be saved.
pub async fn decided(
    store: &Store,
    one: Intervention,
    decision: Decision,
    at: Time,
) -> Changed<Intervention> {
    let contacts = store.contacts().await.unwrap();
    let contact = contacts
        .into_iter()
        .find(|contact| {
            contact.customer == one.customer
                && contact.details.kinds.contains(&ContactKind::Approver)
        })
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
    one.decide(&contact, &people, decision, signed, at).unwrap()
}

/// Another plan of an intervention, approved anew; both in one write, so that nobody sees it without.
pub async fn amended(
    store: &Store,
    one: Intervention,
    text: PlanText,
    at: Time,
) -> Changed<Intervention> {
    let by: Operator = store.operator(&one.requested_by).await.unwrap().unwrap();
    let submitted = one.amend(text, &by, at).unwrap().into_parts().0;
    decided(store, submitted, Decision::Approve, at).await
}
