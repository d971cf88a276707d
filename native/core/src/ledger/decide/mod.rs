//! Decides commands: pure functions from state and command to an event or a status.
//!
//! The checks stand in the order of `docs/spec/ledger.md` 2 and the first that fails gives the
//! status. Nothing here changes anything.

mod payee;
mod payer;

use std::collections::BTreeMap;

use crate::Address;
use crate::amount::Amount;
use crate::keys::Keyring;
use crate::ledger::channels::{CHANNELS_MAX, Standing};
use crate::ledger::command::{Command, Role};
use crate::ledger::event::Event;
use crate::ledger::sessions::SESSIONS_MAX;
use crate::ledger::state::{Channel, Session, State};
use crate::status::Status;

/// The longest note value in bytes.
pub const NOTE_SIZE_MAX: usize = 128 * 1024;

/// `closeAt` of a channel that is closed for ever.
const TOMBSTONE: u32 = u32::MAX;

/// What decisions depend on besides the state.
pub struct Surroundings<'a> {
    /// The EIP-712 domain separator of the ledger.
    pub domain: &'a [u8; 32],
    /// The keys of the payer's channels; without them a ledger cannot have any.
    pub keyring: Option<&'a Keyring>,
    /// Whether the journal has no next segment to go to.
    pub low_space: bool,
}

/// An accepted command: what happened, if anything, and what its channel is to be signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What happened; nothing for a command that asks for what already is.
    pub event: Option<Event<'a>>,
    /// The channel and the amount that the end of the batch shall authorize.
    pub sign: Option<(u32, Amount)>,
}

impl Decision<'_> {
    /// Of a command that asks for what already is.
    const fn nothing() -> Self {
        Decision {
            event: None,
            sign: None,
        }
    }
}

impl<'a> From<Event<'a>> for Decision<'a> {
    fn from(event: Event<'a>) -> Decision<'a> {
        Decision {
            event: Some(event),
            sign: None,
        }
    }
}

/// The amounts that `pay` and `sign` commands of the batch so far will authorize, by channel. A chain
/// that is set behind them has folded theirs in.
pub type Pending = BTreeMap<u32, Amount>;

/// Decides one command.
#[inline]
pub fn decide<'a>(
    state: &State,
    around: &Surroundings<'_>,
    pending: &Pending,
    command: &Command<'a>,
) -> Result<Decision<'a>, Status> {
    match *command {
        Command::ChannelPut { .. } => channel_put(state, around, command),
        Command::SessionOpen {
            channel,
            session_id,
            infohash,
            price_mib,
            minimum_step,
            prepay,
        } => {
            state.channel(channel).ok_or(Status::UnknownChannel)?;
            refuse(state.find_session(&session_id).is_some(), Status::Duplicate)?;
            refuse(around.low_space, Status::NoSpace)?;
            refuse(state.sessions.len() >= SESSIONS_MAX, Status::Overflow)?;
            Ok(Event::SessionOpened {
                channel,
                session_id,
                infohash,
                price_mib,
                minimum_step,
                prepay,
            }
            .into())
        }
        Command::SessionClose {
            session,
            delivered_bytes,
        } => {
            open_session(state, session)?;
            Ok(Event::SessionClosed {
                session,
                delivered_bytes,
            }
            .into())
        }
        Command::Grant {
            session,
            bytes,
            exposure_limit,
        } => payee::grant(state, around, session, bytes, exposure_limit),
        Command::Voucher {
            session,
            row,
            is_final,
            verified,
        } => payee::accept(state, session, row, is_final, verified),
        Command::WriteOff { session, amount } => {
            let (_, channel) = with_role(state, session, Role::Payee)?;
            refuse(amount.get() > channel.unpaid(), Status::ExceedsGranted)?;
            Ok(Event::WrittenOff { session, amount }.into())
        }
        Command::Budget { infohash, limit } => {
            let used = state.find_torrent(&infohash).map_or(0, |torrent| {
                torrent.spent.get().saturating_add(torrent.reserved.get())
            });
            refuse(limit.get() < used, Status::ExceedsBudget)?;
            refuse(around.low_space, Status::NoSpace)?;
            Ok(Event::BudgetSet { infohash, limit }.into())
        }
        Command::Purchase {
            session,
            piece,
            bytes,
        } => payer::purchase(state, around, pending, session, piece, bytes),
        Command::Abandon { session, piece } => payer::abandon(state, pending, session, piece),
        Command::Pay {
            session,
            piece,
            bytes,
            advance,
        } => {
            payer::awaits(state, session, piece, bytes)?;
            let sign = payer::authorize(state, around, pending, session, bytes, advance)?;
            let event = Some(Event::Paid {
                session,
                piece,
                bytes,
            });
            Ok(Decision { event, sign })
        }
        Command::Sign { session, advance } => {
            with_role(state, session, Role::Payer)?;
            let sign = payer::authorize(state, around, pending, session, 0, advance)?;
            Ok(Decision { event: None, sign })
        }
        Command::Adopt { channel, row } => payer::adopt(state, around, pending, channel, row),
        Command::Note { space, key, value } => {
            refuse(
                value.is_some_and(|v| v.len() > NOTE_SIZE_MAX),
                Status::TooLong,
            )?;
            let nothing = value.is_none() && !state.notes.contains_key(&(space, key));
            let event = (!nothing).then_some(Event::NoteKept { space, key, value });
            Ok(Decision { event, sign: None })
        }
        Command::TickVoucher {
            session,
            row,
            verified,
        } => payee::accept_ticks(state, session, row, verified),
        Command::Tick {
            session,
            count,
            tick,
        } => payee::accept_tick(state, session, count, tick),
        Command::OpenChain {
            session,
            unit,
            length,
        } => payer::open_chain(state, around, pending, session, unit, length),
        Command::Reveal {
            session,
            count,
            advance,
        } => payer::reveal(state, around, pending, session, count, advance),
        Command::Receive {
            session,
            piece,
            bytes,
        } => payer::receive(state, pending, session, piece, bytes),
        Command::AdoptTicks { channel, row } => {
            payer::adopt_ticks(state, around, pending, channel, row)
        }
    }
}

fn refuse(condition: bool, status: Status) -> Result<(), Status> {
    if condition { Err(status) } else { Ok(()) }
}

fn find(state: &State, session: u32) -> Result<Session, Status> {
    state.session(session).ok_or(Status::UnknownSession)
}

fn open_session(state: &State, session: u32) -> Result<Session, Status> {
    let found = find(state, session)?;
    refuse(found.closed, Status::Closed)?;
    Ok(found)
}

fn with_role(state: &State, session: u32, role: Role) -> Result<(Session, Channel), Status> {
    let found = find(state, session)?;
    let channel = channel_of(state, &found)?;
    refuse(channel.role != role, Status::WrongRole)?;
    Ok((found, channel))
}

/// The channel of a session; every session has one.
fn channel_of(state: &State, session: &Session) -> Result<Channel, Status> {
    state.channel(session.channel).ok_or(Status::UnknownChannel)
}

/// Whether the ledger's own key at the index is the voucher key: signing with any other would be
/// worthless, so a wrong seed is noticed before money depends on it.
fn owns(around: &Surroundings<'_>, key_index: u64, voucher_key: &Address) -> bool {
    around
        .keyring
        .is_some_and(|keys| keys.key(key_index).1 == *voucher_key)
}

fn least(a: Amount, b: Amount) -> Amount {
    if a.get() < b.get() { a } else { b }
}

/// The close that leaves the least time: 0 is none, the tombstone the end.
fn strictest(a: u32, b: u32) -> u32 {
    if a == 0 || b == 0 || a == TOMBSTONE || b == TOMBSTONE {
        a.max(b)
    } else {
        a.min(b)
    }
}

fn channel_put<'a>(
    state: &State,
    around: &Surroundings<'_>,
    command: &Command<'a>,
) -> Result<Decision<'a>, Status> {
    let Command::ChannelPut {
        role,
        voucher_key,
        payee,
        mut deposit,
        mut settled,
        mut close_at,
        mut block,
        mut key_index,
    } = *command
    else {
        return Err(Status::Malformed);
    };
    let known = state
        .find_channel(&voucher_key, &payee)
        .and_then(|index| state.channel(index));
    let known = known.as_ref();
    refuse(
        known.is_some_and(|channel| channel.role != role),
        Status::WrongRole,
    )?;
    if role == Role::Payer {
        let index = known.map(|channel| channel.key_index);
        let is_own = index == Some(key_index);
        refuse(!is_own && state.has_key_index(key_index), Status::Duplicate)?;
        let is_derived = owns(around, key_index, &voucher_key);
        refuse(
            !is_derived || index.is_some() && !is_own,
            Status::BadSignature,
        )?;
    } else {
        key_index = 0;
    }
    refuse(
        known.is_none() && state.channels.len() >= CHANNELS_MAX,
        Status::Overflow,
    )?;
    if let Some(channel) = known.filter(|channel| block < channel.block) {
        // Read late, or of a branch that has taken over: a payee believes what it lowers, and nobody what it
        // raises.
        if role == Role::Payer {
            return Ok(Decision::nothing());
        }
        deposit = least(deposit, channel.deposit);
        settled = least(settled, channel.settled);
        close_at = strictest(close_at, channel.close_at);
        block = channel.block;
    }
    let unchanged = known.is_some_and(|channel| {
        (channel.deposit, channel.settled) == (deposit, settled)
            && (channel.close_at, channel.block) == (close_at, block)
    });
    let event = Event::ChannelPut {
        role,
        voucher_key,
        payee,
        deposit,
        settled,
        close_at,
        block,
        key_index,
    };
    Ok(Decision {
        event: (!unchanged).then_some(event),
        sign: None,
    })
}
