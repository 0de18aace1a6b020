//! A user name means one thing, and says it in no other way.

use crate::ssh::login::{Login, Wanted};

pub fn holds(data: &[u8]) {
    let Ok(typed) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(login) = Login::parse(typed) else {
        return;
    };
    let again = spelled(&login);
    assert_eq!(again, typed);
    assert_eq!(Login::parse(&again).as_ref(), Ok(&login));
    assert!(typed.len() <= 200, "{} bytes", typed.len());
    assert!(
        typed.bytes().all(|byte| byte.is_ascii_graphic()),
        "{typed:?}"
    );
    for part in typed.split('+') {
        assert!(
            !part.is_empty() && !part.starts_with('-') && !part.contains('/'),
            "{typed:?}"
        );
    }
}

fn spelled(login: &Login) -> String {
    let mut parts = vec![login.operator.to_string()];
    if let Wanted::Target(to) = &login.wanted {
        parts.extend([to.account.to_string(), to.target.clone()]);
        parts.extend(to.intervention.as_ref().map(ToString::to_string));
    }
    parts.join("+")
}
