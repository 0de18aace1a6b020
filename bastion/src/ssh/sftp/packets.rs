//! SFTP's packets in one direction of a channel: where they begin and end, whatever pieces they
//! come in. Pure.
//!
//! A packet's head is looked at whole before any of it passes; its contents pass as they come,
//! without being copied. What is held back of a head that is not whole yet is at most [`LONGEST`].

use crate::ssh::files::Broken;
use bytes::Bytes;

/// The longest packet that is followed, its length not counted: what OpenSSH takes.
pub(super) const LONGEST: usize = 256 * 1024;

/// What a direction's packets mean.
pub(super) trait Packets {
    /// How many bytes of a packet, its length included, have to be there to say what becomes of
    /// it. `length` is what follows the type; `known` is what follows it as far as it has come.
    fn needed(&self, kind: u8, length: usize, known: &[u8]) -> Result<usize, Broken>;

    /// Says what becomes of the packet; `head` is what was needed of what follows the type.
    fn begins(&mut self, kind: u8, length: usize, head: &[u8]) -> Result<Fate, Broken>;

    /// The next piece of a packet's contents.
    fn content(&mut self, of: u64, data: &[u8]);

    /// What is to be put between two packets.
    fn between(&mut self) -> Option<Bytes>;
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    /// Its contents are those of this file.
    PassesWith(u64),
    /// The head goes on like this instead.
    Instead(Bytes),
    Dropped,
}

/// How far a direction has come.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The beginning of a packet of which too little is known.
    held: Vec<u8>,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    left: usize,
    passes: bool,
    of: Option<u64>,
}

enum Head {
    Short {
        needed: usize,
    },
    Whole {
        kind: u8,
        packet: usize,
        head: usize,
    },
}

impl Stream {
    /// Whether nothing of an unfinished packet has gone on.
    pub(super) const fn is_between(&self) -> bool {
        self.body.is_none()
    }

    /// Follows `data`; what passes is put to `on`.
    pub(super) fn follow(
        &mut self,
        data: &Bytes,
        packets: &mut impl Packets,
        on: &mut Vec<Bytes>,
    ) -> Result<(), Broken> {
        let mut run = Run { data, from: 0, on };
        let mut at: usize = 0;
        loop {
            if let Some(body) = &mut self.body {
                let more = data.len().min(at.saturating_add(body.left));
                let piece = data.get(at..more).unwrap_or_default();
                if let Some(of) = body.of {
                    packets.content(of, piece);
                }
                body.left = body.left.saturating_sub(piece.len());
                if !body.passes {
                    run.end(at);
                    run.from = more;
                }
                at = more;
                if body.left > 0 {
                    break;
                }
                self.body = None;
            }
            if let Some(said) = packets.between() {
                run.end(at);
                run.on.push(said);
            }
            if at >= data.len() {
                break;
            }
            let Some(next) = self.head(at, packets, &mut run)? else {
                return Ok(());
            };
            at = next;
        }
        run.end(data.len());
        Ok(())
    }

    /// Takes a packet's head from `at`; where the rest of the data begins. `None` where it is all
    /// held back.
    fn head(
        &mut self,
        at: usize,
        packets: &mut impl Packets,
        run: &mut Run<'_>,
    ) -> Result<Option<usize>, Broken> {
        let rest = run.data.get(at..).unwrap_or_default();
        if self.held.is_empty()
            && let Head::Whole { kind, packet, head } = look(rest, packets)?
        {
            let known = rest.get(5..head).unwrap_or_default();
            let fate = packets.begins(kind, packet - 5, known)?;
            self.body = Some(Body::after(&fate, packet - head));
            match fate {
                Fate::Passes | Fate::PassesWith(_) => {}
                Fate::Instead(bytes) => {
                    run.end(at);
                    run.on.push(bytes);
                    run.from = at + head;
                }
                Fate::Dropped => {
                    run.end(at);
                    run.from = at + head;
                }
            }
            return Ok(Some(at + head));
        }
        run.end(at);
        let mut taken = 0;
        loop {
            match look(&self.held, packets)? {
                Head::Short { needed } => {
                    let missing = needed.saturating_sub(self.held.len());
                    let more = rest.get(taken..).unwrap_or_default();
                    let more = more.get(..missing).unwrap_or(more);
                    self.held.extend_from_slice(more);
                    taken += more.len();
                    if more.len() < missing {
                        run.from = run.data.len();
                        return Ok(None);
                    }
                }
                Head::Whole { kind, packet, head } => {
                    let known = self.held.get(5..head).unwrap_or_default();
                    let fate = packets.begins(kind, packet - 5, known)?;
                    self.body = Some(Body::after(&fate, packet - head));
                    let held = std::mem::take(&mut self.held);
                    match fate {
                        Fate::Passes | Fate::PassesWith(_) => run.on.push(Bytes::from(held)),
                        Fate::Instead(bytes) => run.on.push(bytes),
                        Fate::Dropped => {}
                    }
                    run.from = at + taken;
                    return Ok(Some(at + taken));
                }
            }
        }
    }
}

impl Body {
    const fn after(fate: &Fate, left: usize) -> Self {
        let (passes, of) = match fate {
            Fate::Passes | Fate::Instead(_) => (true, None),
            Fate::PassesWith(of) => (true, Some(*of)),
            Fate::Dropped => (false, None),
        };
        Self { left, passes, of }
    }
}

/// The part of the data that passes as it is, until something does not.
struct Run<'a> {
    data: &'a Bytes,
    from: usize,
    on: &'a mut Vec<Bytes>,
}

impl Run<'_> {
    fn end(&mut self, at: usize) {
        if self.from < at {
            self.on.push(self.data.slice(self.from..at));
        }
        self.from = self.from.max(at);
    }
}

fn look(known: &[u8], packets: &impl Packets) -> Result<Head, Broken> {
    let (Some(length), Some(kind)) = (number(known, 0), known.get(4)) else {
        return Ok(Head::Short { needed: 5 });
    };
    let length = length as usize;
    if length == 0 || length > LONGEST {
        return Err(Broken(format!("a packet of {length} bytes")));
    }
    let (packet, known) = (length + 4, known.get(5..).unwrap_or_default());
    let head = packets.needed(*kind, length - 1, known)?;
    if head > packet {
        return Err(Broken(format!("a packet of type {kind} that is too short")));
    }
    Ok(if known.len() + 5 < head {
        Head::Short { needed: head }
    } else {
        Head::Whole {
            kind: *kind,
            packet,
            head,
        }
    })
}

/// The four bytes at `at`.
pub(super) fn number(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads a packet's fields, one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn u32(&mut self) -> Result<u32, Broken> {
        let value = number(self.0, 0).ok_or_else(short)?;
        self.0 = self.0.get(4..).unwrap_or_default();
        Ok(value)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Broken> {
        let (high, low) = (self.u32()?, self.u32()?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.u32()? as usize;
        let (string, rest) = self.0.split_at_checked(length).ok_or_else(short)?;
        self.0 = rest;
        Ok(string)
    }
}

fn short() -> Broken {
    Broken("a packet that is too short for what is in it".to_owned())
}
