//! A TOML file that people write: everything wrong with it is said with file, line and key.

use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A file as it was read.
pub(crate) struct Declared {
    path: PathBuf,
    text: String,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    /// Counted from 1; absent where the file as a whole is meant.
    pub(crate) line: Option<usize>,
    /// As in `ssh.listen` or `operators.alice.keys[1]`.
    pub(crate) key: Option<String>,
    /// One sentence, lower case, no full stop.
    pub(crate) sentence: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", `{key}`")?;
        }
        write!(f, ": {}", self.sentence)
    }
}

impl std::error::Error for Fault {}

/// Several faults, one a line.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// One step from a table to a value inside it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// A place in a file, from the outside in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place(Vec<Step>);

impl Place {
    /// The value under `key` of this place.
    #[must_use]
    pub(crate) fn key(&self, key: &str) -> Self {
        self.and(Step::Key(key.to_owned()))
    }

    /// The element number `index`, from 0.
    #[must_use]
    pub(crate) fn index(&self, index: usize) -> Self {
        self.and(Step::Index(index))
    }

    fn and(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                    let dot = if i == 0 { "" } else { "." };
                    if key.bytes().all(bare) {
                        write!(f, "{dot}{key}")?;
                    } else {
                        write!(f, "{dot}\"{}\"", key.escape_debug())?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Declared {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Fault> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self {
                path: path.to_owned(),
                text,
            }),
            Err(error) => Err(Fault {
                file: path.to_owned(),
                line: None,
                key: None,
                sentence: format!("cannot be read: {error}"),
            }),
        }
    }

    /// The directory that relative paths in the file start from.
    pub(crate) fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        }
    }

    /// What the file says, as a `T`.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        toml::from_str(&self.text).map_err(|error| self.unreadable(&error))
    }

    /// A fault at `place`, or at the nearest table around it that the file has.
    pub(crate) fn fault(&self, place: &Place, sentence: impl Into<String>) -> Fault {
        let offset = DeTable::parse(&self.text)
            .ok()
            .and_then(|root| offset_of(root.get_ref(), &place.0));
        Fault {
            file: self.path.clone(),
            line: offset.map(|offset| self.line(offset)),
            key: Some(place.to_string()),
            sentence: sentence.into(),
        }
    }

    fn unreadable(&self, error: &toml::de::Error) -> Fault {
        let offset = error.span().map(|span| span.start);
        let key = offset.and_then(|offset| {
            let root = DeTable::parse(&self.text).ok()?;
            place_at(root.get_ref(), offset, &Place::default()).map(|place| place.to_string())
        });
        Fault {
            file: self.path.clone(),
            line: offset.map(|offset| self.line(offset)),
            key,
            sentence: error.message().trim().replace('\n', ", "),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.bytes().take(offset);
        1 + before.filter(|byte| *byte == b'\n').count()
    }
}

/// Where the innermost value on the way to `steps` is declared.
fn offset_of(table: &DeTable<'_>, steps: &[Step]) -> Option<usize> {
    let (first, rest) = steps.split_first()?;
    let Step::Key(wanted) = first else {
        return None;
    };
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == wanted)?;
    offset_in(value.get_ref(), rest).or(Some(key.span().start))
}

fn offset_in(value: &DeValue<'_>, steps: &[Step]) -> Option<usize> {
    if let Some(table) = value.as_table() {
        return offset_of(table, steps);
    }
    let (first, rest) = steps.split_first()?;
    let (Some(array), Step::Index(index)) = (value.as_array(), first) else {
        return None;
    };
    let element = array.get(*index)?;
    offset_in(element.get_ref(), rest).or(Some(element.span().start))
}

/// The innermost declared place around a position of the text.
fn place_at(table: &DeTable<'_>, offset: usize, here: &Place) -> Option<Place> {
    for (key, value) in table {
        let inside = here.key(key.get_ref());
        if let Some(place) = place_in(value.get_ref(), offset, &inside) {
            return Some(place);
        }
        if key.span().contains(&offset) || value.span().contains(&offset) {
            return Some(inside);
        }
    }
    None
}

fn place_in(value: &DeValue<'_>, offset: usize, here: &Place) -> Option<Place> {
    if let Some(table) = value.as_table() {
        return place_at(table, offset, here);
    }
    let elements = value.as_array()?;
    for (index, element) in elements.iter().enumerate() {
        let inside = here.index(index);
        if let Some(place) = place_in(element.get_ref(), offset, &inside) {
            return Some(place);
        }
        if element.span().contains(&offset) {
            return Some(inside);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only what cannot be read is looked at")]
    struct Sheet {
        size: u16,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only what cannot be read is looked at")]
    struct Part {
        names: Vec<String>,
    }

    #[test]
    fn what_cannot_be_read_is_said_with_line_and_key() {
        let rows = [
            ("size = 'x'", "f.toml, line 1, `size`: "),
            (
                "size = 1\n\nsise = 2",
                "f.toml, line 3, `sise`: unknown field",
            ),
            (
                "size = 1\n[[parts]]\nnames = ['a', 2]",
                "f.toml, line 3, `parts[0].names[1]`: ",
            ),
            (
                "size = 1\n[[parts]]\nname = []",
                "f.toml, line 3, `parts[0].name`: unknown field",
            ),
            ("size = ", "f.toml, line 1: "),
            ("[[parts]]\nnames = []", "missing field `size`"),
        ];
        for (text, said) in rows {
            let error = declared(text).parse::<Sheet>().unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
            assert!(error.starts_with("f.toml, line "), "{error}");
        }
    }

    #[test]
    fn a_place_is_found_again_or_the_nearest_around_it() {
        let declared =
            declared("size = 1\n[[parts]]\nnames = ['a']\n[[parts]]\nnames = [\n'a',\n'b']");
        let parts = Place::default().key("parts");
        let rows = [
            (
                parts.index(1).key("names").index(1),
                Some(7),
                "parts[1].names[1]",
            ),
            (parts.index(1).key("nothing"), Some(4), "parts[1].nothing"),
            (Place::default().key("a.b"), None, "\"a.b\""),
        ];
        for (place, line, key) in rows {
            let fault = declared.fault(&place, "wrong");
            assert_eq!((fault.line, fault.key.as_deref()), (line, Some(key)));
        }
    }

    fn declared(text: &str) -> Declared {
        Declared {
            path: PathBuf::from("f.toml"),
            text: text.to_owned(),
        }
    }
}
