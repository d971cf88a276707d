//! Reads an input as choices: the bytes of a fuzzer steer what a target builds.

/// An input being read. Past its end every choice is the first one, so every input means something.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// Reads from the front of `data`.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Source<'a> {
        Source(data)
    }

    /// Whether there are bytes left.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.0.is_empty()
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `N` bytes, zeros past the end.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let size = N.min(self.0.len());
        out[..size].copy_from_slice(&self.0[..size]);
        self.0 = &self.0[size..];
        out
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    /// The next two bytes, little-endian.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    /// A number from 0 to `bound` − 1 of one byte; `bound` is 1 to 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of some values.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Up to `size` bytes as they are.
    pub fn slice(&mut self, size: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(size.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
