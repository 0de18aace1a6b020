//! A contact's signed decision on one plan version.
//!
//! The statement is canonical JSON; its SHA-256 is the `WebAuthn` challenge, so that the passkey
//! signs that very text. What is signed is kept whole, so that it can be checked years later by
//! people who trust neither the host nor this program.

use crate::audit::{canonical, sha256};
use crate::ids::{ContactId, CustomerId, InterventionId};
use crate::intervention::Intervention;
use crate::plan::Plan;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the contact decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Refuse { reason: String },
}

/// The text a contact signs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    text: String,
}

impl Statement {
    /// The statement of `decision` by `approver` on the version of the plan of `intervention` that
    /// waits for one. `nonce` is the server's, used once; base64url or hexadecimal.
    pub fn compose(
        intervention: &Intervention,
        decision: &Decision,
        approver: &ContactId,
        nonce: &str,
    ) -> Self {
        Self::over(
            intervention,
            intervention.awaited(),
            decision,
            approver,
            nonce,
        )
    }

    /// The same on any version of its plan.
    fn over(
        intervention: &Intervention,
        plan: &Plan,
        decision: &Decision,
        approver: &ContactId,
        nonce: &str,
    ) -> Self {
        let mut said = json!({
            "type": "bastion-approval-v1",
            "customer": intervention.customer,
            "intervention": intervention.id,
            "plan_version": plan.number,
            "plan_sha256": plan.hash(),
            "plan": plan.text,
            "requested_by": intervention.requested_by,
            "decision": decision,
            "approver": approver,
            "nonce": nonce,
        });
        if let (Some(extends), Some(said)) = (&plan.extends, said.as_object_mut()) {
            said.insert("extends".to_owned(), json!(extends));
        }
        Self {
            text: canonical(&said),
        }
    }

    /// A statement as it was kept.
    pub fn from_text(text: String) -> Self {
        Self { text }
    }

    /// The canonical JSON that is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The server's nonce, as the text says it.
    fn nonce(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Said {
            nonce: String,
        }
        serde_json::from_str(&self.text)
            .ok()
            .map(|said: Said| said.nonce)
    }

    /// SHA-256 of the text: the `WebAuthn` challenge.
    pub fn challenge(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }
}

/// A `WebAuthn` assertion (W3C Web Authentication, level 2) as it came, base64url without padding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assertion {
    pub credential_id: String,
    pub client_data_json: String,
    pub authenticator_data: String,
    pub signature: String,
    /// The credential's public key at that time: COSE (RFC 9052) as JSON.
    pub public_key: String,
}

/// One decision, with everything needed to check it offline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    pub intervention: InterventionId,
    pub customer: CustomerId,
    pub plan_version: u32,
    pub plan_hash: String,
    pub approver: ContactId,
    #[serde(flatten)]
    pub decision: Decision,
    pub statement: Statement,
    pub assertion: Assertion,
    pub at: Time,
}

impl Approval {
    /// Whether what is kept as signed is, to the letter, this decision by this approver on `plan`
    /// of `intervention`. A row that somebody wrote by hand says what it likes beside its statement.
    pub fn states(&self, intervention: &Intervention, plan: &Plan) -> bool {
        self.intervention == intervention.id
            && self.customer == intervention.customer
            && self.plan_version == plan.number
            && self.statement.nonce().is_some_and(|nonce| {
                Statement::over(intervention, plan, &self.decision, &self.approver, &nonce)
                    == self.statement
            })
    }
}
