//! Bytes of a fuzzer, taken one after the other for whatever is to be chosen. Where there are no
//! more, everything is zero.

pub(crate) struct Given<'a>(pub(crate) &'a [u8]);

impl<'a> Given<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.some(1).first().copied().unwrap_or(0)
    }

    /// Less than `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    pub(crate) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// So many, or what is left.
    pub(crate) fn some(&mut self, at_most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(at_most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let given = self.some(8);
        bytes[..given.len()].copy_from_slice(given);
        u64::from_be_bytes(bytes)
    }

    /// A few bytes.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.some(length)
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// Cuts `data` in pieces; there is at least one, if only an empty one.
pub(crate) fn pieces<'d>(mut data: &'d [u8], cuts: &mut Given<'_>) -> Vec<&'d [u8]> {
    let mut pieces = Vec::new();
    while data.len() > 1 && !cuts.is_over() {
        let (piece, rest) = data.split_at((1 + cuts.below(32)).min(data.len()));
        pieces.push(piece);
        data = rest;
    }
    pieces.push(data);
    pieces
}
