//! Whether the sums that a state keeps are the sums of what it holds (`docs/spec/ledger.md` 1).
//!
//! Commands keep them so. A checkpoint whose checksum holds and whose sums do not was written by a state that had
//! gone wrong; reading it fails, and the segments tell the truth.

use crate::amount;
use crate::ledger::channels::Standing;
use crate::ledger::command::Role;
use crate::ledger::state::State;

/// Recomputes every sum from sessions and outstanding pieces. Linear in what the state holds.
#[must_use]
pub fn is_sound(state: &State) -> bool {
    let Some(sums) = Sums::of(state) else {
        return false;
    };
    let channels = state.channels.iter().zip(sums.channels);
    let torrents = state.torrents.iter().zip(sums.torrents);
    channels.into_iter().all(|(channel, (priced, reserved))| {
        let (first, second) = (channel.first.get(), channel.second.get());
        let is_signed = channel.authorized() > 0 || channel.chain.is_some();
        first == priced
            && match channel.role {
                Role::Payee => second <= first && reserved == 0,
                Role::Payer => second == reserved,
            }
            && is_signed == (channel.voucher_count > 0)
    }) && torrents.into_iter().all(|(torrent, (spent, reserved))| {
        (torrent.spent.get(), torrent.reserved.get()) == (spent, reserved)
    })
}

/// By index, the price of what was moved and the price of what is outstanding.
struct Sums {
    channels: Vec<(u128, u128)>,
    torrents: Vec<(u128, u128)>,
}

impl Sums {
    /// The sums, or `None` where a part fits nothing else. Fewer than 2^32 parts of at most uint96 each.
    fn of(state: &State) -> Option<Sums> {
        let mut sums = Sums {
            channels: vec![(0, 0); state.channels.len()],
            torrents: vec![(0, 0); state.torrents.len()],
        };
        let mut waiting = vec![0u64; state.sessions.len()];
        for ((torrent, _), piece) in &state.outstanding {
            let session = state.session(piece.session)?;
            if session.torrent != *torrent {
                return None;
            }
            waiting[piece.session as usize] += u64::from(piece.bytes);
        }
        for (session, waiting) in state.sessions.iter().zip(waiting) {
            let priced = amount::value(session.price_mib, session.bytes).ok()?;
            let reserved = session.reserved().ok()?;
            if session.outstanding_bytes != waiting {
                return None;
            }
            let channel = session.channel as usize;
            add(&mut sums.channels[channel], priced, reserved);
            if state.channel(session.channel)?.role == Role::Payer {
                add(
                    &mut sums.torrents[session.torrent as usize],
                    priced,
                    reserved,
                );
            } else if waiting > 0 {
                return None;
            }
        }
        for ((channel, torrent), forfeited) in &state.forfeited {
            if forfeited.get() == 0 || state.channel(*channel)?.role != Role::Payer {
                return None;
            }
            add(&mut sums.torrents[*torrent as usize], 0, forfeited.get());
        }
        Some(sums)
    }
}

fn add(sum: &mut (u128, u128), priced: u128, reserved: u128) {
    *sum = (sum.0 + priced, sum.1 + reserved);
}
