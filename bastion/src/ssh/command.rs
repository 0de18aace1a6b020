//! What a command line tells of files: scp's far end, and where rsync and git go. Pure.
//!
//! A command is taken for scp only if no shell could make anything else of it: known words, known
//! flags, one path, and outside quotes nothing but what stands for itself or for names of files.
//! What is not, is a command as any other.

use super::files::shown;
use access::request::{Direction, Request};

/// The far end of scp's own protocol: `scp [flags] -t PATH` or `-f PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScpCommand {
    pub(crate) direction: Direction,
    /// As it was given, without its quotes.
    pub(crate) path: String,
}

/// What running a command line asks for.
pub(crate) fn request(command: &[u8]) -> Request<'static> {
    match scp(command).map(|scp| scp.direction) {
        Some(direction) => Request::Scp { direction },
        None => Request::Exec,
    }
}

/// Reads the far end's command of scp; `None` for any other.
pub(crate) fn scp(command: &[u8]) -> Option<ScpCommand> {
    const FLAGS: &[u8] = b"rpdvqtf";
    let words = plain_words(command)?;
    let (program, words) = words.split_first()?;
    if !matches!(program.as_slice(), b"scp" | b"/usr/bin/scp") {
        return None;
    }
    let (path, options) = words.split_last()?;
    let (last_is_dashes, flags) = match options.split_last() {
        Some((last, flags)) if last == b"--" => (true, flags),
        _ => (false, options),
    };
    if path.is_empty() || (path.starts_with(b"-") && !last_is_dashes) {
        return None;
    }
    let mut direction = None;
    for flag in flags {
        let letters = flag.strip_prefix(b"-").filter(|all| !all.is_empty())?;
        for letter in letters {
            if !FLAGS.contains(letter) {
                return None;
            }
            let said = match letter {
                b't' => Direction::Upload,
                b'f' => Direction::Download,
                _ => continue,
            };
            if direction.replace(said).is_some() {
                return None;
            }
        }
    }
    Some(ScpCommand {
        direction: direction?,
        path: shown(path),
    })
}

/// What rsync's and git's command lines say of where files go, for the journal: told, not checked.
pub(crate) fn told(command: &[u8]) -> Option<String> {
    let words = plain_words(command)?;
    let words: Vec<String> = words.iter().map(|word| shown(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["rsync", "--server", rest @ ..] => {
            let direction = if rest.contains(&"--sender") {
                "download"
            } else {
                "upload"
            };
            let after = rest.iter().position(|word| *word == ".")?;
            let paths = rest.get(after + 1..)?.join(" ");
            Some(format!("rsync, {direction}: {paths}"))
        }
        ["git-upload-pack" | "git-upload-archive", path] | ["git", "upload-pack", path] => {
            Some(format!("git, download: {path}"))
        }
        ["git-receive-pack", path] | ["git", "receive-pack", path] => {
            Some(format!("git, upload: {path}"))
        }
        _ => None,
    }
}

/// The words of a command that any shell reads in the same way; `None` where one might run, expand
/// or redirect anything. Patterns stay as they are: they become names of files and nothing else.
fn plain_words(command: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = command.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take()),
            b'\'' => quoted(&mut bytes, b'\'', word.get_or_insert_default())?,
            b'"' => quoted(&mut bytes, b'"', word.get_or_insert_default())?,
            b'\\' => {
                let escaped = bytes.next().filter(|byte| !byte.is_ascii_control())?;
                word.get_or_insert_default().push(escaped);
            }
            _ if stands_for_itself(byte) => word.get_or_insert_default().push(byte),
            _ => return None,
        }
    }
    words.extend(word);
    Some(words)
}

/// Up to the end of the quotes.
fn quoted(bytes: &mut impl Iterator<Item = u8>, mark: u8, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            byte if byte == mark => return Some(()),
            byte if byte.is_ascii_control() => return None,
            b'$' | b'`' | b'\\' | b'!' if mark == b'"' => return None,
            byte => word.push(byte),
        }
    }
}

const fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 0x80
        || matches!(
            byte,
            b'_' | b'-'
                | b'.'
                | b'/'
                | b'+'
                | b','
                | b':'
                | b'@'
                | b'%'
                | b'='
                | b'~'
                | b'*'
                | b'?'
                | b'['
                | b']'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_nothing_else_is_scp() {
        let rows = [
            ("scp -t /tmp", "upload /tmp"),
            ("scp -f x", "download x"),
            ("scp -r -p -d -v -t -- x", "upload x"),
            ("scp -rpt x", "upload x"),
            (" /usr/bin/scp  -rp -f x", "download x"),
            ("scp -t 'a b;c$(id)'", "upload a b;c$(id)"),
            ("scp -t \"a b\"", "upload a b"),
            ("scp -t a\\ b", "upload a b"),
            ("scp -f ~/*.[ch]", "download ~/*.[ch]"),
            ("scp -t -- -x", "upload -x"),
            ("scp -t é", "upload é"),
            ("scp -t x; id", "-"),
            ("scp -t x&id", "-"),
            ("scp -t x | id", "-"),
            ("scp -t x > y", "-"),
            ("scp -f $(id)", "-"),
            ("scp -f \"$(id)\"", "-"),
            ("scp -f `id`", "-"),
            ("scp -f \"`id`\"", "-"),
            ("scp -f $HOME", "-"),
            ("scp -f x\nid", "-"),
            ("scp -f 'x\ny'", "-"),
            ("scp -f x \\\nid", "-"),
            ("scp -f {a,b}", "-"),
            ("scp -f x(e:id:)", "-"),
            ("scp -f !!", "-"),
            ("scp -f x #y", "-"),
            ("scp -f 'x", "-"),
            ("scp -f", "-"),
            ("scp -f x y", "-"),
            ("scp -f -x", "-"),
            ("scp -f ''", "-"),
            ("scp -f -t x", "-"),
            ("scp -ft x", "-"),
            ("scp -S id -t x", "-"),
            ("scp -oProxyCommand=id -t x", "-"),
            ("scp -Sid -f x", "-"),
            ("scp - -f x", "-"),
            ("scp a:b c", "-"),
            ("/tmp/scp -t x", "-"),
            ("A=b scp -t x", "-"),
            ("sudo scp -t x", "-"),
            ("scp", "-"),
            ("", "-"),
        ];
        for (command, expected) in rows {
            let found = scp(command.as_bytes()).map_or_else(
                || "-".to_owned(),
                |scp| format!("{} {}", scp.direction.operation().code(), scp.path),
            );
            assert_eq!(found, expected, "{command}");
        }
    }

    #[test]
    fn rsync_and_git_tell_where_files_go() {
        let rows = [
            (
                "rsync --server -logDtpre.iLsfxCIvu . /srv/x",
                "rsync, upload: /srv/x",
            ),
            (
                "rsync --server --sender -logDtpre.iLsfxCIvu . /srv/a /srv/b",
                "rsync, download: /srv/a /srv/b",
            ),
            (
                "git-upload-pack '/srv/a b.git'",
                "git, download: /srv/a b.git",
            ),
            ("git-receive-pack 'x.git'", "git, upload: x.git"),
            ("git receive-pack 'x.git'", "git, upload: x.git"),
            ("rsync --server; id", "-"),
            ("rsync --version", "-"),
            ("git status", "-"),
            ("uptime", "-"),
        ];
        for (command, expected) in rows {
            let told = told(command.as_bytes());
            assert_eq!(told.as_deref().unwrap_or("-"), expected, "{command}");
        }
    }
}
