//! The decisions of a payee: what to be owed, and which voucher to take.

use super::{Decision, Surroundings, open_session, refuse, with_role};
use crate::amount::{self, Amount};
use crate::ledger::command::Role;
use crate::ledger::event::Event;
use crate::ledger::state::State;
use crate::status::Status;
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
pub fn accept<'a>(
    state: &State,
    session: u32,
    row: Row,
    is_final: bool,
    verified: bool,
) -> Result<Decision<'a>, Status> {
    let (found, channel) = with_role(state, session, Role::Payee)?;
    let (amount, authorized) = (row.amount().get(), channel.authorized());
    refuse(amount <= authorized, Status::NotIncreasing)?;
    let is_small = amount - authorized < found.minimum_step.get();
    let is_short = amount < channel.granted() - channel.written_off();
    refuse(is_small && !is_final && is_short, Status::BelowStep)?;
    refuse(amount > channel.deposit.get(), Status::ExceedsDeposit)?;
    let cover = channel.granted() + found.prepay.get();
    refuse(amount > cover, Status::ExceedsGranted)?;
    refuse(!verified, Status::Unverified)?;
    Ok(Event::VoucherAccepted { session, row }.into())
}
