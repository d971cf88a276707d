//! The decisions of a payee: what to be owed, and which voucher to take.

use super::{Decision, Surroundings, open_session, refuse, with_role};
use crate::amount::{self, Amount};
use crate::ledger::channels::{Account, Standing};
use crate::ledger::command::Role;
use crate::ledger::event::Event;
use crate::ledger::state::State;
use crate::status::Status;
use crate::tick_row::{self, Tick, TickRow};
use crate::voucher::Row;

/// Decides a `grant`.
pub fn grant<'a>(
    state: &State,
    around: &Surroundings<'_>,
    session: u32,
    bytes: u64,
    exposure_limit: Amount,
) -> Result<Decision<'a>, Status> {
    let found = open_session(state, session)?;
    let (_, channel) = with_role(state, session, Role::Payee)?;
    refuse(channel.close_at != 0, Status::Closing)?;
    refuse(around.low_space, Status::NoSpace)?;
    refuse(found.piece_count == u32::MAX, Status::Overflow)?;
    let to = found.bytes.checked_add(bytes).ok_or(Status::Overflow)?;
    let cost = amount::step(found.price_mib, found.bytes, to)?;
    let owed = amount::add(channel.granted(), cost)? - channel.written_off();
    refuse(owed > channel.deposit.get(), Status::ExceedsDeposit)?;
    let unpaid = owed.saturating_sub(channel.authorized());
    refuse(unpaid > exposure_limit.get(), Status::ExceedsWindow)?;
    Ok(Event::Granted { session, bytes }.into())
}

/// Decides a `voucher`.
#[inline]
pub fn accept<'a>(
    state: &State,
    session: u32,
    row: Row,
    is_final: bool,
    verified: bool,
) -> Result<Decision<'a>, Status> {
    // The one decision that comes by the million: it looks at the money alone.
    let (channel, terms) = state
        .sessions
        .terms(session)
        .ok_or(Status::UnknownSession)?;
    let [_, minimum_step, prepay] = *terms;
    let account = state
        .channels
        .account(channel)
        .ok_or(Status::UnknownChannel)?;
    refuse(account.role != Role::Payee, Status::WrongRole)?;
    let (amount, authorized) = (row.amount().get(), account.authorized());
    refuse(!account.yields_to(amount), Status::NotIncreasing)?;
    let is_small = amount - authorized < minimum_step.get();
    let is_short = amount < account.granted() - account.written_off();
    refuse(is_small && !is_final && is_short, Status::BelowStep)?;
    is_covered(prepay, &account, amount)?;
    refuse(!verified, Status::Unverified)?;
    Ok(Event::VoucherAccepted { session, row }.into())
}

fn is_covered(prepay: Amount, account: &Account, amount: u128) -> Result<(), Status> {
    refuse(amount > account.deposit.get(), Status::ExceedsDeposit)?;
    let cover = account.granted() + prepay.get();
    refuse(amount > cover, Status::ExceedsGranted)
}

/// Decides a `tick_voucher`. Costs at most `count` hashes.
pub fn accept_ticks<'a>(
    state: &State,
    session: u32,
    row: TickRow,
    verified: bool,
) -> Result<Decision<'a>, Status> {
    let (found, channel) = with_role(state, session, Role::Payee)?;
    refuse(!row.is_in_range(), Status::BadRange)?;
    // A new chain folds in all that was authorized before; the current one only has to go on.
    let chain = channel.chain.as_ref();
    let is_lower = if chain.is_some_and(|chain| chain.root == row.root()) {
        row.claim() <= channel.authorized()
    } else {
        row.amount().get() < channel.authorized()
    };
    refuse(is_lower, Status::NotIncreasing)?;
    is_covered(found.prepay, &channel.account(), row.claim())?;
    refuse(!verified, Status::Unverified)?;
    let channel = found.channel;
    Ok(Event::ChainSet { channel, row }.into())
}

/// Decides a `tick`. Costs as many hashes as the count rises by.
pub fn accept_tick<'a>(
    state: &State,
    session: u32,
    count: u16,
    tick: Tick,
) -> Result<Decision<'a>, Status> {
    let (found, channel) = with_role(state, session, Role::Payee)?;
    let known = channel.tick_row().ok_or(Status::UnknownPiece)?;
    refuse(count <= known.count(), Status::NotIncreasing)?;
    refuse(count > known.length(), Status::BadRange)?;
    is_covered(
        found.prepay,
        &channel.account(),
        tick_row::claim(known.amount(), known.unit(), count),
    )?;
    let leads_to = tick_row::walk(&tick, count - known.count());
    refuse(leads_to != known.tick(), Status::BadSignature)?;
    let channel = found.channel;
    Ok(Event::Ticked {
        channel,
        count,
        tick,
    }
    .into())
}
