//! A command that is taken for scp is scp for a shell too, with the same path; and whatever is told
//! of any other is at least told without harm.

use crate::ssh::command::{scp, told};
use crate::ssh::files::shown;
use access::request::Direction;

pub fn holds(data: &[u8]) {
    told(data);
    let Some(found) = scp(data) else {
        return;
    };
    let words: Vec<_> = shlex::bytes::split(data).expect("a shell reads it");
    let (path, before) = words.split_last().expect("it has a path");
    assert_eq!(shown(path), found.path);
    assert!(
        matches!(before[0].as_slice(), b"scp" | b"/usr/bin/scp"),
        "{before:?}"
    );
    let flag = match found.direction {
        Direction::Upload => b't',
        Direction::Download => b'f',
    };
    let flags = before[1..].iter().flatten();
    let directions: Vec<_> = flags.filter(|flag| matches!(flag, b't' | b'f')).collect();
    assert_eq!(directions, [&flag]);
    assert!(
        before[1..].iter().all(|word| word.starts_with(b"-")),
        "{before:?}"
    );
    // Outside quotes a shell would run, redirect or expand something with these.
    let mut quote = None;
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'\\') => drop(bytes.next()),
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(mark), byte) if mark == byte => quote = None,
            (None, byte) => assert!(!b";&|<>()$`\n\r#!{}".contains(&byte), "{data:?}"),
            (Some(b'"'), byte) => assert!(!b"$`\\!".contains(&byte), "{data:?}"),
            (Some(_), _) => {}
        }
    }
}
