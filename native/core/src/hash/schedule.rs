//! Hashes many messages side by side: keeps the streams of a compression function full.
//!
//! A message is a stream of blocks: its own whole blocks, then one or two with what is left of it and the
//! padding. A kernel compresses the same number of blocks of each of its streams; when the shortest stream
//! ends, the next message takes its place.

use std::cmp::Reverse;

/// Bytes of a block of SHA-1 and SHA-256.
pub const BLOCK: usize = 64;
/// Streams of the widest kernel.
const STREAMS_MAX: usize = 16;

/// Blocks one after the other.
pub type Blocks<'a> = &'a [[u8; BLOCK]];

/// A compression function over several streams at once. `W` is the number of 32-bit words of a state.
pub struct Kernel<const W: usize> {
    /// How many streams it takes at once.
    pub streams: usize,
    /// From how many messages on it is worth using; below that a narrower one is faster.
    pub worth: usize,
    /// Compresses so many blocks of every stream into its state. Both slices have `streams` entries, and each
    /// stream that many blocks at least; otherwise it panics.
    pub compress: fn(states: &mut [[u32; W]], data: &[Blocks<'_>], blocks: usize),
}

/// Where the data of `N` streams begins, for kernels that read without further checks.
///
/// Panics where there are not `N` streams with `blocks` blocks each.
pub fn starts<const N: usize>(data: &[Blocks<'_>], blocks: usize) -> [*const u8; N] {
    assert!(data.iter().all(|stream| stream.len() >= blocks));
    let data: &[Blocks<'_>; N] = data
        .try_into()
        .expect("as many streams as the kernel takes");
    data.map(|stream| stream.as_ptr().cast())
}

/// One message on its way.
struct Stream<'a, const W: usize> {
    ordinal: usize,
    state: [u32; W],
    /// Whole blocks of the message that are still to do.
    whole: Blocks<'a>,
    /// What follows them: one or two blocks, of which the first `end_done` are done.
    end: [[u8; BLOCK]; 2],
    end_count: usize,
    end_done: usize,
}

impl<'a, const W: usize> Stream<'a, W> {
    fn new(ordinal: usize, message: &'a [u8], state: [u32; W]) -> Self {
        let (whole, rest) = message.as_chunks();
        // The bit behind the message and its length of 64 bits have to fit behind the rest.
        let end_count = if rest.len() + 9 <= BLOCK { 1 } else { 2 };
        let mut end = [[0; BLOCK]; 2];
        end[0][..rest.len()].copy_from_slice(rest);
        end[0][rest.len()] = 0x80;
        let bits = (message.len() as u64).wrapping_mul(8);
        end[end_count - 1][BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        Stream {
            ordinal,
            state,
            whole,
            end,
            end_count,
            end_done: 0,
        }
    }

    /// The blocks to do next; none when the message is done.
    fn next(&self) -> Blocks<'_> {
        if self.whole.is_empty() {
            &self.end[self.end_done..self.end_count]
        } else {
            self.whole
        }
    }

    fn advance(&mut self, blocks: usize) {
        if self.whole.is_empty() {
            self.end_done += blocks;
        } else {
            self.whole = &self.whole[blocks..];
        }
    }
}

/// Hashes the messages; their final states are written big-endian, one after the other, to `digests`.
///
/// The kernels are in descending order of `worth`; the last one is worth using for one message.
pub fn run<const W: usize>(
    kernels: &[Kernel<W>],
    initial: [u32; W],
    messages: &[&[u8]],
    digests: &mut [u8],
) {
    // The longest first, so that streams side by side end close to each other.
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|&at| Reverse(messages[at].len()));
    let mut waiting = order
        .into_iter()
        .map(|at| Stream::new(at, messages[at], initial));
    let mut live = Vec::with_capacity(STREAMS_MAX);
    while let Some(kernel) = kernels
        .iter()
        .find(|kernel| kernel.worth <= live.len() + waiting.len())
    {
        let free = kernel.streams.saturating_sub(live.len());
        live.extend(waiting.by_ref().take(free));
        let taken = kernel.streams.min(live.len());
        step(kernel, &mut live[..taken]);
        live.retain(|stream| {
            let ended = stream.next().is_empty();
            if ended {
                put(&stream.state, &mut digests[stream.ordinal * W * 4..]);
            }
            !ended
        });
    }
}

/// Compresses as many blocks of each stream as the shortest has.
fn step<const W: usize>(kernel: &Kernel<W>, streams: &mut [Stream<'_, W>]) {
    let blocks = streams.iter().map(|stream| stream.next().len()).min();
    let blocks = blocks.unwrap_or(0);
    let mut states = [[0; W]; STREAMS_MAX];
    // Places of the kernel that have no stream repeat the first one's data; nobody looks at their states.
    let mut data = [streams[0].next(); STREAMS_MAX];
    for (at, stream) in streams.iter().enumerate() {
        states[at] = stream.state;
        data[at] = stream.next();
    }
    let count = kernel.streams;
    (kernel.compress)(&mut states[..count], &data[..count], blocks);
    for (stream, state) in streams.iter_mut().zip(states) {
        stream.state = state;
        stream.advance(blocks);
    }
}

fn put<const W: usize>(state: &[u32; W], digest: &mut [u8]) {
    let (words, _) = digest.as_chunks_mut();
    for (to, word) in words.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
}
