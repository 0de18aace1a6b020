//! A manifest that can be read has one spelling, which is what is signed.

use recordings::{Manifest, ManifestPublicKey};

pub fn holds(data: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(data) else {
        return;
    };
    let written = manifest.to_bytes().expect("it can be written");
    let read: Manifest = serde_json::from_slice(&written).expect("it can be read again");
    assert_eq!(read, manifest);
    assert_eq!(read.to_bytes().expect("it can be written again"), written);
    assert!(!written.contains(&b'\n'));
    // Nobody signed it with this key.
    let nobody = ManifestPublicKey::from_bytes([7; 32]);
    assert!(manifest.check_signature(&nobody).is_err());
}
