//! Canonical JSON (RFC 8785) for values whose numbers are integers: what is signed must have one
//! spelling. Pure.

use serde::Serialize;
use serde_json::Value;

/// The one spelling of `value`: keys sorted, no white space.
pub(crate) fn bytes(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    write(&mut out, &serde_json::to_value(value)?)?;
    Ok(out)
}

/// The same without one member of the outermost object.
pub(crate) fn bytes_without(value: &impl Serialize, member: &str) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    if let Value::Object(members) = &mut value {
        members.remove(member);
    }
    let mut out = Vec::new();
    write(&mut out, &value)?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Value) -> serde_json::Result<()> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::to_writer(out, value)
        }
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                separate(out, n);
                write(out, item)?;
            }
            out.push(b']');
            Ok(())
        }
        Value::Object(members) => {
            // Sorted here: whether serde_json keeps insertion order depends on the whole build.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_cached_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>());
            out.push(b'{');
            for (n, (key, item)) in members.into_iter().enumerate() {
                separate(out, n);
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write(out, item)?;
            }
            out.push(b'}');
            Ok(())
        }
    }
}

fn separate(out: &mut Vec<u8>, n: usize) {
    if n > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_nothing_is_spaced() {
        let value = json!({"b": [1, {"z": null, "a": "é\n"}], "a": true, "signature": "x"});
        let all = super::bytes(&value).unwrap();
        assert_eq!(
            String::from_utf8(all).unwrap(),
            r#"{"a":true,"b":[1,{"a":"é\n","z":null}],"signature":"x"}"#
        );
        let unsigned = super::bytes_without(&value, "signature").unwrap();
        assert!(!String::from_utf8(unsigned).unwrap().contains("signature"));
    }
}
