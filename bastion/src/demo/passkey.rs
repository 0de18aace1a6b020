//! A passkey in a file, for people who exist in the demo only: it signs as an authenticator does
//! (W3C Web Authentication level 2; ES256, attestation `none`), without asking anybody.
//!
//! Written by hand because a file is what the demo needs: authenticator libraries keep their keys
//! to themselves.

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

/// A private key and the name it is known by. The file is 0600.
#[derive(Serialize, Deserialize)]
pub(crate) struct SoftwarePasskey {
    pub(crate) login: String,
    /// The origin it was made for, such as `http://localhost:8080`.
    pub(crate) origin: String,
    credential_id: String,
    /// PKCS #8, base64url.
    key: String,
}

impl SoftwarePasskey {
    /// A new one for `login` at `origin`.
    pub(crate) fn new(login: &str, origin: &str) -> Result<Self> {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .map_err(|_| anyhow!("the system gave no random bytes"))?;
        Ok(Self {
            login: login.to_owned(),
            origin: origin.to_owned(),
            credential_id: BASE64URL.encode(crate::secrets::random::<32>()?),
            key: BASE64URL.encode(key.as_ref()),
        })
    }

    /// Reads one back.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("`{}` is no passkey", path.display()))
    }

    /// Keeps it in a file that must not be there yet.
    pub(crate) fn keep(&self, path: &Path) -> Result<()> {
        crate::secrets::create(path, &serde_json::to_vec(self)?, 0o600)
    }

    /// What `navigator.credentials.create()` would give for these options.
    pub(crate) fn register(&self, options: &Value) -> Result<Value> {
        let id = BASE64URL.decode(&self.credential_id)?;
        let mut data =
            authenticator_data(options.pointer("/rp/id").and_then(Value::as_str), ATTESTED)?;
        data.extend_from_slice(&[0; 16]); // no model named
        data.extend_from_slice(&u16::try_from(id.len())?.to_be_bytes());
        data.extend_from_slice(&id);
        data.extend_from_slice(&self.cose_key()?);
        let client_data = self.client_data("webauthn.create", options)?;
        Ok(json!({
            "id": self.credential_id,
            "rawId": self.credential_id,
            "type": "public-key",
            "response": {
                "attestationObject": BASE64URL.encode(attestation_object(&data)?),
                "clientDataJSON": BASE64URL.encode(client_data),
                "transports": ["internal"],
            },
            "clientExtensionResults": {},
        }))
    }

    /// What `navigator.credentials.get()` would give for these options.
    pub(crate) fn sign(&self, options: &Value) -> Result<Value> {
        let data = authenticator_data(options.get("rpId").and_then(Value::as_str), 0)?;
        let client_data = self.client_data("webauthn.get", options)?;
        let mut signed = data.clone();
        signed.extend_from_slice(digest(&SHA256, &client_data).as_ref());
        let signature = self
            .key()?
            .sign(&SystemRandom::new(), &signed)
            .map_err(|_| anyhow!("the passkey could not sign"))?;
        Ok(json!({
            "id": self.credential_id,
            "rawId": self.credential_id,
            "type": "public-key",
            "response": {
                "authenticatorData": BASE64URL.encode(data),
                "clientDataJSON": BASE64URL.encode(client_data),
                "signature": BASE64URL.encode(signature.as_ref()),
                "userHandle": null,
            },
            "clientExtensionResults": {},
        }))
    }

    fn client_data(&self, kind: &str, options: &Value) -> Result<Vec<u8>> {
        let challenge = options
            .get("challenge")
            .and_then(Value::as_str)
            .context("the options carry no challenge")?;
        let data = json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        Ok(serde_json::to_vec(&data)?)
    }

    fn key(&self) -> Result<EcdsaKeyPair> {
        let document = BASE64URL.decode(&self.key)?;
        EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &document,
            &SystemRandom::new(),
        )
        .map_err(|_| anyhow!("the passkey's file holds no key"))
    }

    /// The public key as COSE (RFC 9052): `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`.
    fn cose_key(&self) -> Result<Vec<u8>> {
        let key = self.key()?;
        let point = key.public_key().as_ref();
        let (x, y) = point
            .get(1..)
            .and_then(|xy| xy.split_at_checked(32))
            .context("a key without a point")?;
        let mut cose = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        cose.extend_from_slice(x);
        cose.extend_from_slice(&[0x22, 0x58, 0x20]);
        cose.extend_from_slice(y);
        Ok(cose)
    }
}

fn authenticator_data(rp_id: Option<&str>, more: u8) -> Result<Vec<u8>> {
    let rp_id = rp_id.context("the options name no relying party")?;
    let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
    data.push(USER_PRESENT | USER_VERIFIED | more);
    data.extend_from_slice(&[0; 4]); // no signature counter, as most passkeys
    Ok(data)
}

/// CBOR `{"fmt": "none", "attStmt": {}, "authData": data}`.
fn attestation_object(data: &[u8]) -> Result<Vec<u8>> {
    let mut object = vec![0xa3, 0x63];
    object.extend_from_slice(b"fmt");
    object.push(0x64);
    object.extend_from_slice(b"none");
    object.push(0x67);
    object.extend_from_slice(b"attStmt");
    object.push(0xa0);
    object.push(0x68);
    object.extend_from_slice(b"authData");
    object.push(0x59);
    object.extend_from_slice(&u16::try_from(data.len())?.to_be_bytes());
    object.extend_from_slice(data);
    Ok(object)
}
