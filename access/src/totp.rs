//! Time-based one-time codes (RFC 6238): SHA-1, six digits, 30 seconds, one step of tolerance.
//!
//! A code that is right gives its time step; the store lets each step of a factor through once.

use crate::time::Time;
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Bytes of a new secret: 160 bits, as RFC 4226 recommends.
pub const SECRET_BYTES: usize = 20;
const STEP_SECONDS: u64 = 30;
const ISSUER: &str = "Bastion";
/// Stands for the login where only codes are made.
const ANYBODY: &str = "anybody";

/// A secret that makes no codes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of this code generator is not usable")]
pub struct TotpError;

/// The time step `code` belongs to at `now`: the current one, the one before or the one after.
/// `None` where the code is wrong. White space in the code is ignored.
pub fn matching_step(secret: &[u8], code: &str, now: Time) -> Result<Option<i64>, TotpError> {
    let totp = totp(secret, ANYBODY)?;
    let seconds = u64::try_from(now.seconds()).map_err(|_| TotpError)?;
    let typed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let near = [
        seconds,
        seconds.saturating_sub(STEP_SECONDS),
        seconds + STEP_SECONDS,
    ];
    let found = near
        .into_iter()
        .find(|at| totp.check(&typed, *at).is_some());
    Ok(found.and_then(|at| i64::try_from(at / STEP_SECONDS).ok()))
}

/// The code at `now`: for the practice set-up and for tests.
pub fn code_at(secret: &[u8], now: Time) -> Result<String, TotpError> {
    let seconds = u64::try_from(now.seconds()).map_err(|_| TotpError)?;
    Ok(totp(secret, ANYBODY)?.generate(seconds).to_string())
}

/// The address an authenticator application reads (`otpauth://totp/…`); it carries the secret.
pub fn enrolment_address(secret: &[u8], login: &str) -> Result<Zeroizing<String>, TotpError> {
    totp(secret, login)?
        .to_url()
        .map(Zeroizing::new)
        .map_err(|_| TotpError)
}

/// The secret as people type it: base32 (RFC 4648) without padding.
pub fn base32(secret: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(Secret::from(secret.to_vec()).to_base32())
}

/// The secret behind a base32 text, as [`base32`] wrote it.
pub fn from_base32(text: &str) -> Result<Vec<u8>, TotpError> {
    let secret = Secret::try_from_base32(text).map_err(|_| TotpError)?;
    Ok(secret.to_vec())
}

fn totp(secret: &[u8], login: &str) -> Result<Totp, TotpError> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_step_duration(STEP_SECONDS)
        .with_skew(0)
        .with_secret(secret.to_vec())
        .with_issuer(Some(ISSUER))
        .with_account_name(login)
        .build()
        .map_err(|_| TotpError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B; its eight-digit codes cut to six.
    const SECRET: &[u8] = b"12345678901234567890";

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(SECRET, at(seconds)).unwrap(), code);
            assert_eq!(
                matching_step(SECRET, code, at(seconds)).unwrap(),
                Some(seconds / 30)
            );
        }
    }

    #[test]
    fn a_code_is_good_for_one_step_before_and_after_and_no_longer() {
        for (offset, good) in [
            (-60, false),
            (-30, true),
            (0, true),
            (30, true),
            (60, false),
        ] {
            let found = matching_step(SECRET, "081804", at(1_111_111_109 + offset)).unwrap();
            assert_eq!(found.is_some(), good, "{offset}");
        }
    }

    #[test]
    fn what_is_not_six_digits_is_no_code() {
        for bad in [
            "",
            "8180",
            "0818040",
            "abcdef",
            "０８１８０４",
            "081804\u{0}",
        ] {
            assert_eq!(
                matching_step(SECRET, bad, at(1_111_111_109)).unwrap(),
                None,
                "{bad}"
            );
        }
        assert!(
            matching_step(SECRET, " 081 804\n", at(1_111_111_109))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn the_enrolment_address_carries_login_and_secret() {
        let address = enrolment_address(SECRET, "alice").unwrap();
        assert!(
            address.starts_with(
                "otpauth://totp/Bastion:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
            ),
            "{}",
            *address
        );
    }
}
